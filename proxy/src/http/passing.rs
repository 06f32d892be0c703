//! Bytes between two connections: counted when they are read, and again when they are taken.

use std::sync::Arc;

use bytes::Buf;

use crate::flow::{Attempt, Progress, Way};

/// Bytes on their way into a connection, which counts them as it takes them.
#[derive(Debug)]
pub(crate) struct Passing {
    bytes: bytes::Bytes,
    /// Not of our own words.
    towards: Option<(Towards, Arc<Progress>)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Towards {
    Callee(Attempt),
    Caller,
}

impl Passing {
    /// What was read, to be passed on.
    pub(super) fn new(bytes: bytes::Bytes, towards: Option<(Towards, Arc<Progress>)>) -> Self {
        let passing = Self { bytes, towards };
        if let Some(way) = passing.way() {
            way.read(passing.bytes.len());
        }
        passing
    }

    fn way(&self) -> Option<&Way> {
        self.towards.as_ref().map(|(towards, progress)| match towards {
            Towards::Callee(attempt) => progress.request(*attempt),
            Towards::Caller => &progress.response,
        })
    }
}

impl Buf for Passing {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        if let Some(way) = self.way() {
            way.pass(taken);
        }
    }
}
