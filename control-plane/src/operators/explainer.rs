//! Answers that take long to find, beside the requests that have to be answered at once: a fix is
//! sought by compiling the policy again for each change that is tried.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;

use crate::http::Problem;

/// Answers sought at once; further ones wait, for as long as their request may take. Half of a small
/// machine is left to identities and policies.
const AT_ONCE: usize = 2;

/// Seeks answers on threads of their own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Explainer {
    slots: Arc<Semaphore>,
}

impl Default for Explainer {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Explainer {
    /// What `seek` finds. Whoever asked may hang up: what has begun keeps its slot to its end.
    pub(super) async fn answer<T: Send + 'static>(
        &self,
        seek: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let cut =
            |detail: &str| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no answer", detail);
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| cut("nothing is explained any more"))?;
        let seeking = tokio::task::spawn_blocking(move || {
            let found = seek();
            drop(slot);
            found
        });
        seeking.await.map_err(|_| cut("explaining broke off; the log says why"))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use axum::response::IntoResponse as _;
    use tokio::task::JoinSet;

    use super::{AT_ONCE, Explainer};

    const DEADLINE: Duration = Duration::from_secs(8);

    #[tokio::test]
    async fn what_takes_long_leaves_the_thread_to_others() {
        let (say, said) = mpsc::channel();
        let explainer = Explainer::default();
        let long = explainer.answer(move || said.recv_timeout(DEADLINE).ok());
        let other = async { say.send("done").unwrap() };
        let (found, ()) = tokio::join!(long, other);
        assert_eq!(found.unwrap(), Some("done"));
    }

    #[tokio::test]
    async fn so_many_answers_are_sought_at_once_whoever_still_waits_for_them() {
        let (explainer, begun) = (Explainer::default(), Arc::new(AtomicUsize::new(0)));
        let (go, going) = mpsc::channel::<()>();
        let going = Arc::new(Mutex::new(going));
        let mut asked = JoinSet::new();
        for _ in 0..4 * AT_ONCE {
            let (explainer, begun, going) = (explainer.clone(), begun.clone(), going.clone());
            asked.spawn(async move {
                let seek = move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let _ = going.lock().unwrap().recv_timeout(DEADLINE);
                };
                explainer.answer(seek).await.unwrap();
            });
        }
        let all_begun = async {
            while begun.load(Ordering::SeqCst) < AT_ONCE {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, all_begun).await.unwrap();
        asked.shutdown().await; // everybody hangs up
        let late = explainer.answer(|| ());
        assert!(tokio::time::timeout(Duration::from_millis(50), late).await.is_err());
        assert_eq!(begun.load(Ordering::SeqCst), AT_ONCE);
        drop(go);
        tokio::time::timeout(DEADLINE, explainer.answer(|| ())).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_said_so_and_gives_its_slot_back() {
        let explainer = Explainer::default();
        for _ in 0..2 * AT_ONCE {
            let broken = explainer.answer(|| panic!("a mistake of ours")).await;
            let problem = broken.map(|()| 0).unwrap_err().into_response();
            assert_eq!(problem.status(), 500);
        }
    }
}
