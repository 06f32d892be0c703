//! HTTP between the caller, the other sidecar and our workload: one reading of each request, our
//! headers and no others, one record that lives as long as the answer.

mod alone;
mod body;
mod budget;
mod canonical;
mod client;
mod cut;
mod exchange;
mod fate;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod headers;
mod http1;
mod interim;
mod introduction;
mod kept;
mod lingering;
mod multiplexed;
mod passing;
mod patience;
mod pump;
mod received;
mod recycled;
mod repeat;
mod reply;
mod serve;
mod spoken;
mod streams;
mod together;
mod tunnel;

pub(crate) use alone::{alone, alone_at_workload};
pub(crate) use body::Body;
pub(crate) use budget::Budget;
pub(crate) use canonical::{Canonical, Upgrade};
pub(crate) use fate::SendError;
pub(crate) use headers::{OUTCOME, of_second_attempt};
pub(crate) use introduction::Introduced;
pub(crate) use multiplexed::{Conn, Multiplexed};
pub(crate) use received::Received;
pub(crate) use recycled::{Line, Recycled};
pub(crate) use repeat::{Repeat, Sent, Told};
pub(crate) use reply::Reply;
pub(crate) use serve::{Version, serve, serve_app};
pub(crate) use spoken::spoken;
pub(crate) use streams::handshake_h2;
pub(crate) use together::in_turn;

pub(crate) use exchange::{
    carried, delivered, outgoing, read, refused, to_callee, to_peer, unanswered,
};
#[cfg(fuzzing)]
pub(crate) use fuzzing::request_head;
