//! The moments and connections that the statements about one callee can tell apart.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellwall_policy::{Tls, TlsFact};

use crate::condition::{Attribute, Condition};

/// The groups that a condition may name, and one that stands for all others.
const GROUPS: [&str; 5] = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1", "other"];
const VERSIONS: [&str; 2] = ["1.3", "other"];

/// Every combination of a connection and a time at which answers may differ.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) connections: Vec<Tls>,
    /// In Unix seconds, ascending. The first is before every grant.
    pub(crate) times: Vec<u64>,
}

impl Moments {
    /// Of these conditions, and of grants that start and end at these seconds.
    pub(crate) fn of<'a>(
        conditions: impl Iterator<Item = &'a Condition>,
        turns: impl Iterator<Item = u64>,
    ) -> Self {
        let facts: BTreeSet<TlsFact> = conditions
            .flat_map(Condition::attributes)
            .filter_map(|attribute| match attribute {
                Attribute::Tls(fact) => Some(*fact),
                Attribute::Caller(_) | Attribute::Callee(_) => None,
            })
            .collect();
        let all = |fact, known: &[&'static str], usual| -> Vec<&'static str> {
            if facts.contains(&fact) { known.to_vec() } else { vec![usual] }
        };
        let usual = Tls::default();
        let groups = all(TlsFact::Group, &GROUPS, usual.group);
        let versions = all(TlsFact::Version, &VERSIONS, usual.version);
        let connections = versions
            .iter()
            .flat_map(|version| groups.iter().map(move |group| Tls { version, group }))
            .collect();
        let times: BTreeSet<u64> = turns.chain([0]).collect();
        Self { connections, times: times.into_iter().collect() }
    }

    /// Each, connection by connection.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&Tls, SystemTime)> {
        self.connections.iter().flat_map(|tls| {
            self.times.iter().map(move |seconds| {
                let at = UNIX_EPOCH.checked_add(Duration::from_secs(*seconds));
                (tls, at.unwrap_or(UNIX_EPOCH))
            })
        })
    }

    /// What is said of some of the connections; `None` where it is all of them.
    pub(crate) fn condition(&self, chosen: &[usize]) -> Option<String> {
        if chosen.len() == self.connections.len() {
            return None;
        }
        let part = |name: &str, known: &[&'static str], value: fn(&Tls) -> &'static str| {
            let seen: BTreeSet<_> =
                chosen.iter().filter_map(|at| self.connections.get(*at)).map(value).collect();
            let here: BTreeSet<_> = self.connections.iter().map(value).collect();
            if seen == here {
                return None;
            }
            let list = |texts: Vec<&str>| {
                let quoted: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
                quoted.join(", ")
            };
            let of = |wanted: &dyn Fn(&&&'static str) -> bool| -> Vec<&str> {
                known.iter().filter(wanted).copied().collect()
            };
            let inside = of(&|text| seen.contains(**text));
            let outside = of(&|text| !seen.contains(**text));
            Some(match (inside.contains(&"other"), inside.len(), outside.len()) {
                (false, 1, _) => format!("tls.{name} == {}", list(inside)),
                (false, ..) => format!("tls.{name} in [{}]", list(inside)),
                (true, _, 1) => format!("tls.{name} != {}", list(outside)),
                (true, ..) => format!("!(tls.{name} in [{}])", list(outside)),
            })
        };
        let version = part("version", &VERSIONS, |tls| tls.version);
        let group = part("group", &GROUPS, |tls| tls.group);
        Some(version.into_iter().chain(group).collect::<Vec<_>>().join(" && "))
    }
}
