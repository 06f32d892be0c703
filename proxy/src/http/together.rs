//! What is ready is written together.
//!
//! To write to a socket wakes whoever reads from it, on another core. Where that has nothing else to do the
//! wake-up costs more than the write, and after one message it sleeps again. So all that are ready make what
//! they have to say first, and then all of them write, one after the other.

use std::{future::poll_fn, mem, task::Poll};

/// Resolves when each task that is ready now has had its turn: before something is written at once.
/// What was true before has to be looked at again.
pub(crate) async fn in_turn() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::task::JoinSet;

    use super::in_turn;

    #[tokio::test]
    async fn all_that_are_ready_make_what_they_say_before_the_first_of_them_writes() {
        let happened = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for name in 1..=3 {
            let happened = happened.clone();
            tasks.spawn(async move {
                happened.lock().unwrap().push(("made", name));
                in_turn().await;
                happened.lock().unwrap().push(("wrote", name));
            });
        }
        tasks.join_all().await;
        let made = (1..=3).map(|name| ("made", name));
        let wrote = (1..=3).map(|name| ("wrote", name));
        let expected: Vec<_> = made.chain(wrote).collect();
        assert_eq!(*happened.lock().unwrap(), expected);
    }
}
