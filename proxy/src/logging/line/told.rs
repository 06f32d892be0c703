//! Between whom flows are, as text: for most the same as for the one before.

use std::{cell::RefCell, sync::Arc};

use super::{Line, field};
use crate::flow::{Direction, FlowRecord, Party};

thread_local! {
    static INBOUND: RefCell<Told> = RefCell::default();
    static OUTBOUND: RefCell<Told> = RefCell::default();
}

/// Gives `then` the text of the parties of `record`: what was written of the last flow of this thread in
/// its direction, if that was between the same two.
pub(super) fn parties(record: &FlowRecord, then: impl FnOnce(&[u8])) {
    let told = match record.direction {
        Direction::Inbound => &INBOUND,
        Direction::Outbound => &OUTBOUND,
    };
    told.with_borrow_mut(|told| {
        if !told.is_of(record) {
            *told = Told::of(record);
        }
        then(&told.text);
    });
}

/// Between whom a flow is, and the text of it.
#[derive(Default)]
struct Told {
    environment: Arc<str>,
    caller: Party,
    caller_serial: Option<Arc<str>>,
    callee: Party,
    text: Vec<u8>,
}

impl Told {
    fn of(record: &FlowRecord) -> Self {
        let FlowRecord { environment, caller, caller_serial, callee, .. } = record;
        let mut text = Vec::new();
        let mut line = Line(&mut text);
        line.text(field!("cellwall.env"), environment);
        line.party([field!("cellwall.caller.workload"), field!("cellwall.caller.id")], caller);
        if let Some(serial) = caller_serial {
            line.text(field!("cellwall.caller.serial"), serial);
        }
        line.party([field!("cellwall.callee.workload"), field!("cellwall.callee.id")], callee);
        let (environment, caller_serial) = (environment.clone(), caller_serial.clone());
        Self { environment, caller: caller.clone(), caller_serial, callee: callee.clone(), text }
    }

    fn is_of(&self, record: &FlowRecord) -> bool {
        !self.text.is_empty()
            && self.environment == record.environment
            && self.caller == record.caller
            && self.caller_serial == record.caller_serial
            && self.callee == record.callee
    }
}
