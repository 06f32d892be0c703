//! What the sidecar promises, tried on the real program through its sockets: one module a promise.
#![expect(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;
mod witness;

mod answers;
mod authority;
mod away;
mod calls;
mod chaos;
mod confusion;
mod corpus;
mod decisions;
mod denials;
mod drain;
mod ending;
mod fates;
mod flows;
mod forwarding;
mod h2spec;
mod handshakes;
mod identity;
mod listeners;
mod near_misses;
mod outage;
mod played;
mod policy;
mod pool;
mod probes;
mod raw_h2;
mod readings;
mod record;
mod replayed;
mod reproof;
mod resets;
mod rotation;
mod secrets;
mod spoken;
mod spoofs;
mod statements;
mod streams;
mod tcp;
mod told;
mod traces;
mod undeclared;
mod uploads;
mod workload_api;
