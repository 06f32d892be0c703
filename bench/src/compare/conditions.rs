//! When, where and how a result came about: the head of its document.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Settings;
use crate::machine::{Machine, Pinning};

/// What results of comparisons and of curves say of themselves before all else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// The form of the document.
    pub schema: u32,
    /// Whether it was stopped before all was measured.
    pub was_stopped: bool,
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// What it ran on.
    pub machine: Machine,
    /// Which core did what.
    pub pinning: Pinning,
    /// How the processes reached each other.
    pub network: String,
    /// How it was run.
    pub settings: Settings,
}

/// What is known before anything is measured.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) schema: u32,
    pub(crate) machine: Machine,
    pub(crate) pinning: Pinning,
    pub(crate) network: String,
}

impl Begun {
    /// It ends now.
    pub(crate) fn ended(self, settings: &Settings, stop: &CancellationToken) -> Conditions {
        let Self { schema, machine, pinning, network } = self;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Conditions {
            schema,
            was_stopped: stop.is_cancelled(),
            at: now.map_or(0, |since| since.as_secs()),
            machine,
            pinning,
            network,
            settings: settings.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{compare::Comparison, curves::Curves};

    const HEAD: &str = r#"{"schema":1,"was_stopped":false,"at":7,"machine":{"cpu":"a","cores":2,"kernel":"6","memory_kib":1,"open_files":9},"pinning":{"cores":{"load":0,"proxies":1}},"network":"loopback","settings":{"rounds":3,"seconds":5.0,"warm_up_seconds":1.0,"idle_connections":10,"load":"own"}"#;

    #[test]
    fn results_of_earlier_builds_are_read_and_written_as_they_were() {
        let compared = format!(r#"{HEAD},"contenders":[],"absent":{{}},"rows":[],"goals":[]}}"#);
        let drawn = format!(r#"{HEAD},"extent":"all","curves":[],"goals":[]}}"#);

        let comparison: Comparison = serde_json::from_str(&compared).unwrap();
        let curves: Curves = serde_json::from_str(&drawn).unwrap();

        assert_eq!(serde_json::to_string(&comparison).unwrap(), compared);
        assert_eq!(serde_json::to_string(&curves).unwrap(), drawn);
        assert_eq!(comparison.conditions, curves.conditions);
    }
}
