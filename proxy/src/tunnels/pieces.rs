//! What was heard and not passed on yet: in the memory of its frames, and small ones put together.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// How many pieces are written at once, and held as they came whatever their size.
const PIECES: usize = 32;

/// Below this a piece beyond those is copied: it may hold the memory of many, and each has a head of
/// its own (RES-05).
const SMALL: usize = 16 * 1024;

/// Bytes in their order.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    first: VecDeque<Bytes>,
    /// Behind all of `first`.
    last: BytesMut,
}

impl Pieces {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty()
    }

    /// Adds `data` at the end.
    pub(super) fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let is_kept = data.len() >= SMALL || self.first.len() < PIECES;
        if is_kept && (self.last.is_empty() || data.len() >= SMALL) {
            self.close_last();
            self.first.push_back(data);
            return;
        }
        if self.last.capacity().saturating_sub(self.last.len()) < data.len() {
            self.close_last();
            self.last = BytesMut::with_capacity(SMALL);
        }
        self.last.extend_from_slice(&data);
    }

    /// Writes from the beginning, and says how much.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        if self.first.is_empty() {
            self.close_last();
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        for (slice, piece) in slices.iter_mut().zip(&self.first) {
            *slice = IoSlice::new(piece);
        }
        let pieces = slices.get(..self.first.len().min(PIECES)).unwrap_or_default();
        let written = ready!(Pin::new(socket).poll_write_vectored(cx, pieces))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, written: usize) {
        let mut left = written;
        while let Some(piece) = self.first.front_mut() {
            if left < piece.len() {
                piece.advance(left);
                break;
            }
            left = left.saturating_sub(piece.len());
            self.first.pop_front();
        }
        if self.is_empty() {
            *self = Self::default(); // it may be silent for long
        }
    }

    fn close_last(&mut self) {
        if !self.last.is_empty() {
            self.first.push_back(self.last.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::{PIECES, Pieces, SMALL};

    const WINDOW: usize = 1024 * 1024;

    /// Memory that is held: of copies as much as they may grow to.
    fn check(sizes: impl Iterator<Item = usize>, most: usize) -> Pieces {
        let mut pieces = Pieces::default();
        for size in sizes {
            pieces.push(Bytes::from(vec![7; size]));
        }
        assert!(pieces.first.capacity() <= most, "{}", pieces.first.capacity());
        assert!(pieces.last.capacity() <= SMALL, "{}", pieces.last.capacity());
        pieces
    }

    #[test]
    fn a_window_of_small_frames_is_held_in_few_pieces() {
        // RES-05
        check(std::iter::repeat_n(1, WINDOW), 4 * PIECES);
        check(std::iter::repeat_n(SMALL - 1, WINDOW / SMALL), 4 * PIECES);
        check((0..WINDOW / SMALL).flat_map(|_| [1, SMALL]), 8 * PIECES);
    }

    #[test]
    fn a_frame_among_few_is_not_copied_and_a_silent_stream_holds_nothing() {
        let mut pieces = Pieces::default();
        let frame = Bytes::from(vec![7; 100]);
        pieces.push(frame.clone());
        assert_eq!(pieces.first[0].as_ptr(), frame.as_ptr());
        pieces.advance(100);
        assert_eq!((pieces.first.capacity(), pieces.last.capacity()), (0, 0));
    }

    /// Pushes pieces of `sizes`, writes after each as much as goes, and compares what is heard.
    async fn passes(sizes: &[usize]) {
        let passed = tokio::task::unconstrained(pass(sizes)); // only a full pipe stops it
        tokio::time::timeout(Duration::from_secs(8), passed).await.unwrap();
    }

    async fn pass(sizes: &[usize]) {
        let (mut far, mut near) = duplex(3 * SMALL);
        let (mut pieces, mut said, mut heard) = (Pieces::default(), Vec::new(), Vec::new());
        for (number, size) in sizes.iter().enumerate() {
            let data: Vec<u8> = (0..*size).map(|at| (at * 7 + number) as u8).collect();
            said.extend_from_slice(&data);
            pieces.push(Bytes::from(data));
            let mut cx = Context::from_waker(Waker::noop());
            while !pieces.is_empty() && pieces.write(&mut cx, &mut near).is_ready() {}
            if !pieces.is_empty() {
                far.read_buf(&mut heard).await.unwrap();
            }
        }
        while heard.len() < said.len() {
            let mut cx = Context::from_waker(Waker::noop());
            let written = if pieces.is_empty() {
                Poll::Pending
            } else {
                pieces.write(&mut cx, &mut near).map(Result::unwrap)
            };
            if written.is_pending() {
                far.read_buf(&mut heard).await.unwrap();
            }
        }
        assert!(heard == said && pieces.is_empty());
    }

    #[tokio::test]
    async fn whatever_the_sizes_all_comes_in_its_order() {
        passes(&[0, 1, 0, SMALL, 3]).await;
        passes(&[1; 70_000]).await;
        passes(&[SMALL - 1; 100]).await;
        passes(&[SMALL, 1, 2, 3 * SMALL, 5, 100].repeat(60)).await;
        passes(&(0..2_000).map(|at| at * 37 % 5_000).collect::<Vec<_>>()).await;
    }
}
