//! Guards, looked up.

use super::{Checker, outsiders::Outsiders};
use crate::{model::Guard, syntax::GuardItem};

impl Checker<'_> {
    pub(super) fn guards(&mut self, items: &[GuardItem]) {
        self.unique("guard", items.iter().map(|item| &item.name));
        for item in items {
            if let Some(guard) = self.guard(item) {
                self.parts.guards.push(guard);
            }
        }
    }

    fn guard(&mut self, item: &GuardItem) -> Option<Guard> {
        let from = self.who(&item.from, Outsiders::Welcome);
        let to = self.who(&item.to, Outsiders::Refused);
        let except = match &item.except {
            Some(selector) => {
                self.who(selector, Outsiders::Welcome).map(|who| (self.each(&who), who.foreign))
            }
            None => Some(Default::default()),
        };
        let when = self.when(item.when.as_ref());
        if let Some(to) = &to {
            self.receivable_by_some(&to.members, &item.calls);
        }
        let (except, except_foreign) = except?;
        Some(Guard {
            name: item.name.value.clone(),
            place: item.name.place,
            from: from?,
            to: to?,
            except,
            except_foreign,
            calls: item.calls.clone(),
            when: when.ok()?,
            mode: item.mode,
            why: item.why.clone(),
            stewardship: item.stewardship.clone(),
        })
    }
}
