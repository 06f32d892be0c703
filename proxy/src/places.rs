//! What the streams on one HTTP/2 connection share: how many there may be, and signs that somebody is
//! there.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::sync::Notify;

/// How a connection shows that somebody is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// The pause between pings while there are streams.
    pub(crate) every: Duration,
    /// How long an answer may take, while nothing else is heard.
    pub(crate) answer: Duration,
}

pub(crate) const PULSE: Pulse =
    Pulse { every: Duration::from_secs(30), answer: Duration::from_secs(10) };

/// Streams that were reset here and may still have bytes on their way: h2 ignores those, of as many
/// streams as this and for so long. What comes for one beyond is an error of the stream, and as many
/// errors in the life of a connection end it, with all others (CVE-2025-8671).
pub(crate) const RESETS: usize = 4096;
pub(crate) const RESET_KEPT: Duration = Duration::from_secs(5);

/// What frames may weigh that nobody has taken out of a connection yet. h2 counts 256 bytes for each that
/// is smaller, and ends the connection beyond, with all that is on it (RES-05). It counts those that
/// come for a stream that was reset here as well, and never takes their weight back.
pub(crate) const FRAMING: usize = 64 * 1024 * 1024;

/// The places of one connection.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: AtomicUsize,
    freed: Notify,
    /// Something was read since somebody last looked.
    is_heard: AtomicBool,
    /// Something was taken to be sent since then.
    is_taken: AtomicBool,
    /// Streams that have ended in a reset, in its life.
    broken: AtomicUsize,
}

/// A stream's place on a connection, until the last of these is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<Taken>);

#[derive(Debug)]
struct Taken(Arc<Places>);

impl Places {
    /// A place, if fewer than `most` are taken.
    pub(crate) fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        let next = |taken: usize| (taken < most).then(|| taken.saturating_add(1));
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Place(Arc::new(Taken(self.clone()))))
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Resolves once for whoever waits, when a place was freed.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// How many streams have ended in a reset.
    pub(crate) fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    fn was_taken(&self) -> bool {
        self.is_taken.swap(false, Ordering::Relaxed)
    }

    /// Whether something was read since somebody asked last.
    pub(crate) fn was_heard(&self) -> bool {
        self.is_heard.swap(false, Ordering::Relaxed)
    }
}

impl Place {
    /// The other side has said something.
    pub(crate) fn hears(&self) {
        self.0.0.is_heard.store(true, Ordering::Relaxed);
    }

    /// The connection has taken something of ours: it moves, or the kernel has room.
    pub(crate) fn takes(&self) {
        self.0.0.is_taken.store(true, Ordering::Relaxed);
    }

    /// The stream ends in a reset.
    pub(crate) fn breaks(&self) {
        self.0.0.broken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

/// For how many halves of an answer's time a connection that still takes what we say is waited for.
const PATIENCE: u32 = 4;

/// Resolves when streams are on a connection and nobody answers there.
pub(crate) async fn silent(pings: Option<PingPong>, places: &Places, pulse: Pulse) {
    let Some(mut pings) = pings else { return pending().await };
    loop {
        tokio::time::sleep(pulse.every).await;
        if places.was_heard() || places.taken() == 0 {
            continue;
        }
        let mut answer = std::pin::pin!(pings.ping(Ping::opaque()));
        let (mut is_missed, mut more) = (false, PATIENCE);
        loop {
            // In two halves: who was stopped meanwhile finds the first one over, and the answer unread.
            match tokio::time::timeout(pulse.answer / 2, answer.as_mut()).await {
                Ok(Ok(_)) => break,
                Ok(Err(_)) => return pending().await, // the connection tells it
                // Behind much else that is on its way.
                Err(_) if places.was_heard() => is_missed = false,
                Err(_) if more > 0 && places.was_taken() => more -= 1,
                Err(_) if is_missed => return,
                Err(_) => is_missed = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::io::duplex;

    use super::{Places, Pulse, silent};

    const SOON: Duration = Duration::from_millis(20);

    /// Whether a connection on which nobody answers is taken for silent, on which something is heard.
    async fn is_silent(hears: bool) -> bool {
        let (_far, near) = duplex(64 * 1024);
        let (_sender, mut session) = h2::client::handshake(near).await.unwrap();
        let places = Arc::<Places>::default();
        let place = places.take(1).unwrap();
        assert!(places.take(1).is_none());
        let heard = async {
            loop {
                tokio::time::sleep(SOON / 4).await;
                if hears {
                    place.hears();
                }
            }
        };
        let pulse = Pulse { every: SOON, answer: SOON * 4 };
        let looked = tokio::time::timeout(SOON * 40, silent(session.ping_pong(), &places, pulse));
        tokio::select! {
            looked = looked => looked.is_ok(),
            () = heard => false,
        }
    }

    #[tokio::test]
    async fn an_answer_behind_much_else_is_waited_for() {
        let (without, with) = tokio::join!(is_silent(false), is_silent(true));
        assert_eq!((without, with), (true, false));
    }
}
