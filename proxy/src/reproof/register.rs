//! The connections that the other side may prove anew: those that it opened and that are open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cellwall_mtls::{Binding, ConnectionName};

use crate::authority::Authority;

/// Connections by name. Locked for a moment when one opens, closes or is named; never by a call.
#[derive(Clone, Debug, Default)]
pub struct Register {
    open: Arc<Mutex<ByName>>,
}

type ByName = HashMap<ConnectionName, Arc<Open>>;

/// A connection that another sidecar opened.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) binding: Binding,
    pub(super) authority: Authority,
}

/// A connection is in the register for as long as it has this.
#[derive(Debug)]
#[must_use]
pub(crate) struct Entered {
    register: Register,
    name: ConnectionName,
}

impl Register {
    /// Enters a connection.
    pub(crate) fn enter(&self, binding: Binding, authority: &Authority) -> Entered {
        let name = binding.name();
        let open = Arc::new(Open { binding, authority: authority.clone() });
        self.with(|all| all.insert(name, open));
        Entered { register: self.clone(), name }
    }

    /// The open connection of that name.
    pub(super) fn find(&self, name: ConnectionName) -> Option<Arc<Open>> {
        self.with(|all| all.get(&name).cloned())
    }

    fn with<T>(&self, work: impl FnOnce(&mut ByName) -> T) -> T {
        work(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.register.with(|all| all.remove(&self.name));
    }
}
