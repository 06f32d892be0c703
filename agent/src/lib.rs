//! The Workload API on one node: attestation of local workloads and their SVIDs.
//!
//! A workload connects to a unix socket and says nothing about itself. The kernel says which
//! process it is ([`Caller`]); what the process *is* gives its [`Selectors`]; the [`Server`] says
//! which registration entries these earn and signs for them. Keys are made here, one for each
//! certificate, and leave only towards the process they belong to.
//!
//! **One SVID per stream and entry.** Two streams of one process hold two certificates with two
//! keys. A cache shared by the streams of a process would save signatures, which are cheap, and
//! would have to outlive streams with key material in it, which is not.

mod authority;
mod bundles;
mod caller;
mod calls;
mod executable;
mod holdings;
mod limits;
mod process;
mod selector;
mod serve;
mod server;
mod service;
mod socket;
mod svid;
mod svids;

pub use caller::{AttestationError, Caller};
pub use calls::{Calls, OpenCall};
pub use holdings::{Holding, Holdings};
pub use process::{Process, ProcessError};
pub use selector::{Selector, SelectorError, Selectors};
pub use serve::{Agent, serve};
pub use server::{Bundle, Issued, Order, Refused, Server, View};
pub use socket::{Socket, SocketError};
pub use svid::{FreshKey, Renewal, jitter};
