//! What a policy set says about itself.

use std::{fmt, time::Duration};

use spiffe::{SpiffeId, TrustDomain};

use crate::{
    Entry, Findings, PolicySet, Summary,
    model::{Workload, WorkloadNumber},
};

impl PolicySet {
    /// The trust domain of every identity.
    pub const fn trust_domain(&self) -> &TrustDomain {
        self.template.trust_domain()
    }

    /// The findings that do not keep the documents from being used.
    pub const fn warnings(&self) -> &Findings {
        &self.warnings
    }

    /// How much the documents say.
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// The names of all workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &str> {
        self.workloads.iter().map(|workload| workload.name.as_str())
    }

    /// The longest life of an SVID that `limits.svid_ttl` allows.
    pub fn svid_ttl(&self) -> Option<Duration> {
        self.governance.svid_ttl.map(Duration::from_secs)
    }

    /// The names of all rules.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// Which process earns which identity.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The workload and the environment that an ID names.
    pub fn identify(&self, id: &SpiffeId) -> Option<(&str, String)> {
        let (number, environment) = self.find(id)?;
        Some((self.workload(number)?.name.as_str(), environment))
    }

    /// The segment of a workload, and its mode: `enforce` or `audit`.
    pub fn segment_of(&self, workload: &str) -> Option<(&str, &'static str)> {
        let workload = self.workload(*self.by_name.get(workload)?)?;
        let segment = self.segments.get(workload.segment)?;
        Some((segment.name.as_str(), segment.mode.as_str()))
    }

    pub(crate) fn find(&self, id: &SpiffeId) -> Option<(WorkloadNumber, String)> {
        let (shape, environment) = self.template.read(id)?;
        Some((*self.by_shape.get(&shape)?, environment))
    }

    pub(crate) fn workload(&self, number: WorkloadNumber) -> Option<&Workload> {
        self.workloads.get(number.0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        write!(
            f,
            "{} ({}, {}, {}, {}{}, {})",
            count(self.files, "file"),
            count(self.workloads, "workload"),
            count(self.segments, "segment"),
            count(self.rules, "rule"),
            count(self.guards, "guard"),
            if self.grants > 0 {
                format!(", {}", count(self.grants, "grant"))
            } else {
                String::new()
            },
            count(self.tests, "test"),
        )
    }
}
