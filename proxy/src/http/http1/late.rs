//! The deadline of a head, for hyper: a sign that somebody else sets who looks at the clock. A timer would be
//! set and taken back for each call.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::rt;

/// Ready when it was set. It wakes nobody: who sets it polls the connection after that.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    pub(super) fn set(&self, is_late: bool) {
        self.0.store(is_late, Ordering::Relaxed);
    }
}

impl Future for Late {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl rt::Sleep for Late {}
