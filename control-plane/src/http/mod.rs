//! HTTP/1.1 for people: the health listener and the operators' socket.

mod answer;
mod connection;

pub use answer::{Problem, SCHEMA_VERSION, document};
pub use connection::{Limits, converse};
