//! `:authority` of a call over a unix socket, made readable for the HTTP/2 library.
//!
//! gRPC clients built on C (Python, C++, Ruby) and Java send the socket's path as `:authority`, plain
//! or percent-encoded. Neither is an authority (RFC 3986 §3.2), and `h2` refuses the call with
//! PROTOCOL_ERROR (hyperium/h2#487); on a unix socket the field means nothing. So the bytes that it
//! must not hold are replaced, one for one, where the client first spells the field out: lengths and
//! the compression state of both sides stay as they are. Only frames with headers are looked at,
//! only a field without Huffman coding is touched, and whoever sends it changes nobody's call but
//! their own.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// RFC 9113 §3.4.
const PREFACE: usize = 24;

/// RFC 9113 §4.1.
const FRAME_HEADER: usize = 9;

/// RFC 9113 §6.2, §6.10.
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;

/// A name that is spelled out, with its length (RFC 7541 §5.2).
const NAME: &[u8] = b"\x0a:authority";

/// RFC 9113 §4.2: the largest payload until we allow more, which we do not.
const MAX_FRAME: usize = 16 * 1024;

/// A connection of the socket, with readable authorities.
#[derive(Debug)]
pub(crate) struct LocalAuthority<IO> {
    io: IO,
    /// Bytes of the preface, or of a payload without headers, that pass as they come.
    passing: usize,
    /// A frame header, or a frame with headers, that is not whole yet.
    held: Vec<u8>,
    /// What is ready to be read from `held`.
    ready: usize,
}

impl<IO> LocalAuthority<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self { io, passing: PREFACE, held: Vec::new(), ready: 0 }
    }

    /// How many bytes `held` lacks to be a frame header, or a whole frame with headers.
    fn lacking(&self) -> usize {
        let Some((length, kind)) = frame(&self.held) else {
            return FRAME_HEADER - self.held.len();
        };
        let whole = if has_headers(length, kind) { FRAME_HEADER + length } else { FRAME_HEADER };
        whole - self.held.len()
    }

    /// Lets what is held go: after its authority was made readable, or with its payload to follow.
    fn release(&mut self) {
        let Some((length, kind)) = frame(&self.held) else { return };
        if has_headers(length, kind) {
            make_readable(&mut self.held);
        } else {
            self.passing = length;
        }
        self.ready = self.held.len();
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for LocalAuthority<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.ready > 0 {
                let some = this.ready.min(buffer.remaining());
                buffer.put_slice(this.held.get(..some).unwrap_or_default());
                this.held.drain(..some);
                this.ready -= some;
                return Poll::Ready(Ok(()));
            }
            if this.passing > 0 {
                let size = this.passing.min(buffer.remaining());
                let mut part = ReadBuf::new(buffer.initialize_unfilled_to(size));
                ready!(Pin::new(&mut this.io).poll_read(cx, &mut part))?;
                let filled = part.filled().len();
                buffer.advance(filled);
                this.passing -= filled;
                return Poll::Ready(Ok(()));
            }
            let mut space = vec![0; this.lacking()];
            let mut part = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                // The end in the middle of a frame: the library makes of it what it always does.
                this.ready = this.held.len();
                if this.ready == 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.held.extend_from_slice(part.filled());
            if this.lacking() == 0 {
                this.release();
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for LocalAuthority<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Length of the payload and type of the frame that begins here.
fn frame(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, kind, ..] = *bytes.first_chunk::<FRAME_HEADER>()?;
    Some((usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c), kind))
}

fn has_headers(length: usize, kind: u8) -> bool {
    matches!(kind, HEADERS | CONTINUATION) && length <= MAX_FRAME
}

/// Replaces what no authority may hold in the first `:authority` that is spelled out.
fn make_readable(frame: &mut [u8]) {
    let Some(block) = frame.get_mut(FRAME_HEADER..) else { return };
    let found = (0..block.len()).find_map(|at| value_at(block, at));
    let Some(value) = found.and_then(|(start, end)| block.get_mut(start..end)) else { return };
    for byte in value {
        if matches!(*byte, b'%' | b'/') {
            *byte = b'-';
        }
    }
}

/// The value of a literal `:authority` at `at`, if it is a path. RFC 7541 §6.2: the name is index 1
/// of Appendix A, or spelled out as gRPC's C library does; §5.2: nothing has Huffman coding.
fn value_at(block: &[u8], at: usize) -> Option<(usize, usize)> {
    let at = match *block.get(at)? {
        0x01 | 0x11 | 0x41 => at + 1,
        0x00 | 0x10 | 0x40 if block.get(at + 1..)?.starts_with(NAME) => at + 1 + NAME.len(),
        _ => return None,
    };
    let (length, start) = match *block.get(at)? {
        length @ ..0x7f => (usize::from(length), at + 1),
        // RFC 7541 §5.1: one more byte reaches 254, which is more than a socket's path can need.
        0x7f => match *block.get(at + 1)? {
            more @ ..0x80 => (0x7f + usize::from(more), at + 2),
            0x80.. => return None,
        },
        0x80.. => return None,
    };
    let value = block.get(start..start + length)?;
    let printable = value.iter().all(u8::is_ascii_graphic);
    let path = value.starts_with(b"/") || value.windows(3).any(|code| code == b"%2F");
    (printable && path).then_some((start, start + length))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::LocalAuthority;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 4, 0, 0, 0, 1], payload].concat()
    }

    fn literal(prefix: u8, value: &str) -> Vec<u8> {
        let mut field = vec![prefix];
        if prefix & 1 == 0 && prefix != 0x44 {
            field.extend(super::NAME);
        }
        match u8::try_from(value.len()).unwrap() {
            length @ ..127 => field.push(length),
            length => field.extend([127, length - 127]),
        }
        [field, value.as_bytes().to_vec()].concat()
    }

    /// What comes out of the wrapper, however the bytes are cut.
    async fn through(bytes: &[u8], cut: usize) -> Vec<u8> {
        let (mut near, far) = duplex(cut);
        let mut out = Vec::new();
        let mut wrapped = LocalAuthority::new(far);
        let write = async {
            near.write_all(bytes).await.unwrap();
            drop(near);
        };
        let (_, read) = tokio::join!(write, wrapped.read_to_end(&mut out));
        read.unwrap();
        out
    }

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    #[tokio::test]
    async fn a_path_becomes_an_authority_of_the_same_length() {
        let long = format!("tmp%2F{}%2Fworkload.sock", "x".repeat(120));
        for (value, expected) in [
            ("tmp%2Fcellwall%2Fworkload.sock", "tmp-2Fcellwall-2Fworkload.sock".to_owned()),
            ("/run/cellwall/workload.sock", "-run-cellwall-workload.sock".to_owned()),
            (long.as_str(), long.replace('%', "-")),
        ] {
            for prefix in [0x00, 0x01, 0x10, 0x11, 0x40, 0x41] {
                let block = |value: &str| [&[0x83, 0x86][..], &literal(prefix, value)].concat();
                let sent = [PREFACE, &frame(4, &[]), &frame(1, &block(value))].concat();
                let wanted = [PREFACE, &frame(4, &[]), &frame(1, &block(&expected))].concat();
                for cut in [1, 7, 4096] {
                    assert_eq!(through(&sent, cut).await, wanted, "{value} cut {cut}");
                }
            }
        }
    }

    #[tokio::test]
    async fn nothing_else_is_touched() {
        let path = literal(0x41, "tmp%2Fworkload.sock");
        let frames = [
            frame(0, &path),                       // the same bytes in a message
            frame(1, &literal(0x41, "localhost")), // an authority
            frame(1, &literal(0x44, "/SpiffeWorkloadAPI/FetchX509SVID")), // a path
            frame(1, &[]),
            frame(8, &[0; 4]),
        ];
        let sent = [PREFACE, &frames.concat()].concat();
        for cut in [1, 5, 4096] {
            assert_eq!(through(&sent, cut).await, sent);
        }
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_a_frame_loses_nothing() {
        let whole = [PREFACE, &frame(1, &literal(0x41, "localhost"))].concat();
        for end in 0..whole.len() {
            assert_eq!(through(&whole[..end], 4096).await, &whole[..end]);
        }
    }
}
