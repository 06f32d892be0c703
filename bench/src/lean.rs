//! Closed loop over HTTP/1.1 that costs little, for the one answer that our backend gives.
//!
//! The load shares a machine with what it measures: a client that parses costs as much as the
//! proxies. This one knows the bytes that have to come, and takes all others for wrong.

use memchr::memmem;

use crate::{
    ClosedLoop, Connections, Control, LoadError, Loopback, Report,
    backend::BODY,
    line::{Answer, Dialogue, talk},
    measure::Outcome,
};

/// What is asked for, over and over.
pub(crate) const PATH: &str = "/v1/bench/call";

/// Clients of a [`crate::Backend`], or of proxies before one, that never pause.
///
/// # Errors
/// If there is no client.
pub async fn lean_loop(
    server: Loopback,
    load: ClosedLoop,
    control: Control,
) -> Result<Report, LoadError> {
    talk(server, load, dialogue(server, load.connections), control).await
}

pub(crate) fn dialogue(server: Loopback, connections: Connections) -> Dialogue {
    let close = match connections {
        Connections::Kept => "",
        Connections::PerRequest => "connection: close\r\n",
    };
    let address = server.address();
    let says = format!("GET {PATH} HTTP/1.1\r\nhost: {address}\r\n{close}\r\n");
    Dialogue { says: says.into_bytes(), answer: Answer::Http }
}

/// What the bytes so far are; nothing while the answer may still become right.
pub(crate) fn judge(received: &[u8]) -> Option<Outcome> {
    let end = memmem::find(received, b"\r\n\r\n")?;
    let status = received.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u16>().ok());
    let Some(status) = status else { return Some(Outcome::Wrong) };
    if status != 200 {
        return Some(Outcome::Status(status));
    }
    let body = received.get(end + 4..).unwrap_or_default();
    if body == BODY {
        return Some(Outcome::Status(200));
    }
    if BODY.starts_with(body) { None } else { Some(Outcome::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_wrong_or_not_whole_yet() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
        let whole = [&head[..], BODY].concat();
        for end in 0..whole.len() {
            assert_eq!(judge(&whole[..end]), None, "{end}");
        }
        assert_eq!(judge(&whole), Some(Outcome::Status(200)));
        assert_eq!(judge(&[&whole[..], b"x"].concat()), Some(Outcome::Wrong));
        assert_eq!(judge(&[&head[..], b"other"].concat()), Some(Outcome::Wrong));
        assert_eq!(judge(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Some(Outcome::Status(403)));
        assert_eq!(judge(b"SSH-2.0\r\n\r\n"), Some(Outcome::Wrong));
    }
}
