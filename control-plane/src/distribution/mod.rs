//! Policy to the sidecars and addresses between them: one gRPC stream each, over mutual TLS.

mod attach;
mod fleet;
mod hello;
mod report;
mod roll;
mod serve;
mod stream;

pub use attach::Distribution;
pub use fleet::{Fleet, ProxyRow, ServedAt, SyncState};
pub use hello::{Answered, Introduction};
pub use serve::{MeshListener, serve};
