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

/// The same, for answers of so many bytes.
///
/// # Errors
/// If there is no client.
pub async fn sized_loop(
    server: Loopback,
    load: ClosedLoop,
    bytes: usize,
    control: Control,
) -> Result<Report, LoadError> {
    talk(server, load, asking(server, &format!("?bytes={bytes}"), bytes), control).await
}

pub(crate) fn dialogue(server: Loopback, connections: Connections) -> Dialogue {
    let close = match connections {
        Connections::Kept => "",
        Connections::PerRequest => "connection: close\r\n",
    };
    let address = server.address();
    let says = format!("GET {PATH} HTTP/1.1\r\nhost: {address}\r\n{close}\r\n");
    Dialogue { says: says.into_bytes(), answer: Answer::Http(BODY.len()) }
}

fn asking(server: Loopback, query: &str, bytes: usize) -> Dialogue {
    let address = server.address();
    let says = format!("GET {PATH}{query} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    Dialogue { says: says.into_bytes(), answer: Answer::Http(bytes) }
}

/// What the bytes so far are, where so many are asked for; nothing while the answer may still become
/// right.
pub(crate) fn judge(received: &[u8], bytes: usize) -> Option<Outcome> {
    let end = memmem::find(received, b"\r\n\r\n")?;
    let status = received.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u16>().ok());
    let Some(status) = status else { return Some(Outcome::Wrong) };
    if status != 200 {
        return Some(Outcome::Status(status));
    }
    let body = received.get(end + 4..).unwrap_or_default();
    if body.len() < bytes {
        // The beginning is enough to end early what is another answer: the whole is compared at the end.
        let begun = body.get(..BODY.len()).unwrap_or(body);
        return if BODY.starts_with(begun) { None } else { Some(Outcome::Wrong) };
    }
    let is_right =
        body.len() == bytes && body.chunks(BODY.len()).all(|part| BODY.starts_with(part));
    Some(if is_right { Outcome::Status(200) } else { Outcome::Wrong })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_wrong_or_not_whole_yet() {
        for bytes in [0, 7, 100, 250] {
            let body = BODY.iter().copied().cycle().take(bytes).collect::<Vec<_>>();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
            let whole = [head.as_bytes(), &body].concat();
            for end in 0..whole.len() {
                assert_eq!(judge(&whole[..end], bytes), None, "{bytes} {end}");
            }
            assert_eq!(judge(&whole, bytes), Some(Outcome::Status(200)));
            let other = [&whole[..], b"x"].concat();
            assert_eq!(judge(&other, bytes), Some(Outcome::Wrong), "{bytes}");
            if let Some(last) = whole.len().checked_sub(1).filter(|_| bytes > 0) {
                let changed = [&whole[..last], b"#"].concat();
                assert_eq!(judge(&changed, bytes), Some(Outcome::Wrong), "{bytes}");
            }
        }
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
        assert_eq!(judge(&[&head[..], b"other"].concat(), 100), Some(Outcome::Wrong));
        let denied = b"HTTP/1.1 403 Forbidden\r\n\r\n";
        assert_eq!(judge(denied, 100), Some(Outcome::Status(403)));
        assert_eq!(judge(b"SSH-2.0\r\n\r\n", 100), Some(Outcome::Wrong));
    }
}
