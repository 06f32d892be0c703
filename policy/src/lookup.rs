//! Tables that are read for each call.
//!
//! What is in them comes from a policy, and their seed from the process: whoever calls can look a name
//! up but puts none in. So they need no hash that withstands an attacker, which costs four times as
//! much.

use std::collections::HashMap;

/// A table that is read for each call.
pub(crate) type Lookup<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
