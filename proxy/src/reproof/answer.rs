//! The side that accepted: hears the proof, judges again, and goes by the newer certificates.

use std::time::SystemTime;

use cellwall_mtls::{ConnectionName, End, PROOF_LEN, Session};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{CLAIM_LEN, NAME_LEN, Outcome, Register};
use crate::{Identity, flow::Direction, metrics, upstream::HANDSHAKE_DEADLINE};

/// Answers one re-proof on `session`, which the other side opened for nothing else; `identity` is
/// the one that we showed on it.
pub(crate) async fn answer<IO>(session: Session<IO>, identity: &Identity, register: &Register)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let caller = session.peer.clone();
    let heard = tokio::time::timeout(HANDSHAKE_DEADLINE, hear(session, identity, register)).await;
    let outcome = match heard {
        Ok(Ok(())) => Outcome::Extended,
        Ok(Err(outcome)) => outcome,
        Err(_) => Outcome::Failed,
    };
    metrics::reproof(Direction::Inbound, outcome.as_str());
    match outcome {
        Outcome::Extended => tracing::debug!(caller = caller.id_text(), "connection proved anew"),
        refused => {
            let reason = refused.as_str();
            tracing::warn!(caller = caller.id_text(), reason, "re-proof refused");
        }
    }
}

async fn hear<IO>(
    mut session: Session<IO>,
    identity: &Identity,
    register: &Register,
) -> Result<(), Outcome>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut claim = [0; CLAIM_LEN];
    session.stream.read_exact(&mut claim).await.map_err(|_| Outcome::Failed)?;
    let answer = judge(&claim, &session, identity, register)?;
    session.stream.write_all(&answer).await.map_err(|_| Outcome::Failed)?;
    session.stream.shutdown().await.map_err(|_| Outcome::Failed)
}

/// Extends the connection that `claim` names, and returns our proof.
fn judge<IO>(
    claim: &[u8; CLAIM_LEN],
    session: &Session<IO>,
    identity: &Identity,
    register: &Register,
) -> Result<[u8; PROOF_LEN], Outcome> {
    let (name, proof) = split(claim);
    let open = register.find(name).ok_or(Outcome::UnknownConnection)?;
    if !open.binding.is_proved(End::Client, &session.binding, &proof) {
        return Err(Outcome::NotProved);
    }
    let own_end = identity.material.authority_end();
    open.authority.renew(session.peer.clone(), own_end, SystemTime::now())?;
    Ok(open.binding.prove(End::Server, &session.binding))
}

fn split(claim: &[u8; CLAIM_LEN]) -> (ConnectionName, [u8; PROOF_LEN]) {
    let (mut name, mut proof) = ([0; NAME_LEN], [0; PROOF_LEN]);
    let (first, second) = claim.split_at(NAME_LEN);
    name.copy_from_slice(first);
    proof.copy_from_slice(second);
    (ConnectionName(name), proof)
}
