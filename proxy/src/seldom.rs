//! What happens seldom, beside what happens for each call.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use atomic_waker::AtomicWaker;
use tokio::task::unconstrained;

/// A future that is polled when it was woken itself, and not whenever its task is: to ask a token, a timer
/// or a watch whether it is due takes a lock or two, and a connection's task is woken for each call.
/// Tokio's budget of the task does not count here: nothing that it does else puts off what is due.
#[derive(Debug)]
pub(crate) struct Seldom<F> {
    bell: Arc<Bell>,
    /// Rings it.
    waker: Waker,
    future: Pin<Box<F>>,
}

#[derive(Debug)]
struct Bell {
    is_rung: AtomicBool,
    task: AtomicWaker,
}

impl<F: Future> Seldom<F> {
    /// Polled for the first time with its task.
    pub(crate) fn of(future: F) -> Self {
        let bell = Arc::new(Bell { is_rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { waker: Waker::from(bell.clone()), bell, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // First: whoever rings after the look that follows wakes the task.
        self.bell.task.register(cx.waker());
        if !self.bell.is_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Self { waker, future, .. } = &mut *self;
        pin!(unconstrained(future.as_mut())).poll(&mut Context::from_waker(waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll, Wake, Waker},
        thread,
        time::Duration,
    };

    use tokio::{sync::oneshot, task::coop::consume_budget};

    use super::Seldom;

    #[tokio::test]
    async fn what_nobody_woke_is_not_asked_and_what_is_due_is_told() {
        let asked = AtomicUsize::new(0);
        let (ring, mut rung) = oneshot::channel::<u8>();
        let mut seldom = pin!(Seldom::of(poll_fn(|cx| {
            asked.fetch_add(1, Ordering::Relaxed);
            pin!(&mut rung).poll(cx)
        })));
        for _ in 0..100 {
            // By another task each time: the last one is woken.
            let polled = seldom.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let told = async {
            let waits = poll_fn(|cx| Poll::Ready(seldom.as_mut().poll(cx).is_pending()));
            assert!(waits.await);
            ring.send(7).unwrap();
            seldom.as_mut().await
        };
        let told = tokio::time::timeout(Duration::from_secs(8), told).await.unwrap();
        assert_eq!(told, Ok(7));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_ring_of_another_thread_is_not_missed() {
        for _ in 0..500 {
            let (ring, rung) = oneshot::channel::<()>();
            let ringing = thread::spawn(move || ring.send(()).unwrap());
            tokio::time::timeout(Duration::from_secs(8), Seldom::of(rung)).await.unwrap().unwrap();
            ringing.join().unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_due_is_told_although_its_task_has_had_its_share() {
        let (ring, rung) = oneshot::channel();
        let mut seldom = pin!(Seldom::of(rung));
        ring.send(7).unwrap();
        let told = poll_fn(|cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(seldom.as_mut().poll(cx))
        });
        assert_eq!(told.await, Poll::Ready(Ok(7)));
    }

    /// Counts how often a task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_ring_wakes_the_task_that_asked_last() {
        let (ring, rung) = oneshot::channel::<()>();
        let mut seldom = pin!(Seldom::of(rung));
        let tasks = [(); 3].map(|()| {
            let woken = Arc::<Woken>::default();
            let task = Waker::from(woken.clone());
            assert!(seldom.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
            woken
        });
        ring.send(()).unwrap();
        assert_eq!(tasks.map(|woken| woken.0.load(Ordering::SeqCst)), [0, 0, 1]);
    }

    #[test]
    fn a_ring_while_it_is_asked_wakes_its_task() {
        let mut seldom = pin!(Seldom::of(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })));
        for _ in 0..3 {
            let woken = Arc::<Woken>::default();
            let task = Waker::from(woken.clone());
            assert!(seldom.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
            assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        }
    }
}
