//! Mutual TLS with X509-SVIDs: who is on the other side of a connection, proved.
//!
//! [`TlsMaterial`] is one immutable generation of what a handshake needs: our SVID, the trust
//! bundles by trust domain, the deny list. [`accept`] and [`connect`] make a [`Session`] with a
//! [`Peer`], which exists only after the whole of [X509-SVID §5] held. There is no resumption, no
//! ticket, no 0-RTT and nothing older than TLS 1.3: those would skip or weaken the verifier.
//!
//! [X509-SVID §5]: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md

mod anchors;
mod binding;
mod certificate;
mod deny;
mod handshake;
mod material;
mod peer;
mod provider;
mod refusal;
mod verifier;
mod verify;

pub use anchors::AnchorDefect;
pub use binding::{Binding, ConnectionName, End, PROOF_LEN};
pub use deny::DenyList;
pub use handshake::{Alpn, HandshakeError, Session, accept, connect};
pub use material::{MaterialError, MaterialInput, TlsMaterial};
pub use peer::{Peer, Serial};
pub use provider::{GROUPS, describe_provider};
pub use refusal::Refusal;
