//! HTTP between the caller, the other sidecar and our workload: one reading of each request, our
//! headers and no others, one record that lives as long as the answer.

mod body;
mod canonical;
mod headers;
mod pool;
mod reply;
mod serve;

pub(crate) use body::Body;
pub(crate) use canonical::Canonical;
pub(crate) use pool::{Conn, Multiplexed, Recycled, SendError, handshake_h1, handshake_h2};
pub(crate) use reply::Reply;
pub(crate) use serve::{Version, serve};

pub(crate) use headers::{grpc_status, to_callee, to_caller, to_peer, trace_id};
