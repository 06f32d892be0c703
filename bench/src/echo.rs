//! Closed loop over plain TCP: a message, and the same message back.

use crate::{
    ClosedLoop, Control, LoadError, Loopback, Report,
    backend::ECHOED,
    line::{Answer, Dialogue, talk},
    measure::Outcome,
};

const MESSAGE: [u8; 100] = [ECHOED; 100];

/// Clients of an echo that never pause, each with a connection of its own, or one for each message.
///
/// # Errors
/// If there is no client.
pub async fn echo_loop(
    server: Loopback,
    load: ClosedLoop,
    control: Control,
) -> Result<Report, LoadError> {
    talk(server, load, dialogue(), control).await
}

pub(crate) fn dialogue() -> Dialogue {
    Dialogue { says: MESSAGE.to_vec(), answer: Answer::Echo }
}

pub(crate) fn judge(received: &[u8]) -> Option<Outcome> {
    if received == MESSAGE {
        return Some(Outcome::Done);
    }
    if MESSAGE.starts_with(received) { None } else { Some(Outcome::Wrong) }
}
