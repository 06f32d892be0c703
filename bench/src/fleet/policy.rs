//! The policy of a fleet that is simulated.

use std::{fmt::Write as _, path::PathBuf};

/// The trust domain of all of it.
pub(super) const TRUST_DOMAIN: &str = "fleet.example";

/// What a policy is written from.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The program whose process earns each workload's identity.
    pub(super) programs: Vec<PathBuf>,
    /// Rules, dealt out to the workloads in turn.
    pub(super) rules: usize,
}

impl Pattern {
    /// The document in which the first so many workloads exist. `edition` tells one version from
    /// the next: it is the reason that one rule gives.
    pub(super) fn document(&self, workloads: usize, edition: u64) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, workloads, edition);
        text
    }

    fn write(&self, text: &mut String, workloads: usize, edition: u64) -> std::fmt::Result {
        writeln!(text, "version: cellwall/v1")?;
        writeln!(text, "identity: \"spiffe://{TRUST_DOMAIN}/{{env}}/{{workload}}\"")?;
        writeln!(text, "workloads:\n  origin: {{listens: {{http: 8443}}}}")?;
        let mut members = String::from("origin");
        for (number, program) in self.programs.iter().take(workloads).enumerate() {
            let (name, program) = (name(number), program.display());
            let attest = format!("attest: {{prod: [\"unix:path:{program}\"]}}");
            writeln!(text, "  {name}: {{listens: {{http: 8443}}, {attest}}}")?;
            write!(members, ", {name}")?;
        }
        writeln!(text, "segments:\n  all: {{members: [{members}], mode: enforce}}\nrules:")?;
        writeln!(text, "  - name: edition\n    from: origin\n    to: origin")?;
        writeln!(text, "    allow:\n      - http: GET /v1/edition\n    why: edition {edition}")?;
        for rule in 0..self.rules {
            let callee = rule % self.programs.len().max(1);
            if callee < workloads {
                let name = name(callee);
                writeln!(text, "  - name: rule-{rule}\n    from: origin\n    to: {name}")?;
                writeln!(text, "    allow:\n      - http: GET /v1/calls/{rule}/{{id}}")?;
                writeln!(text, "    why: what this workload is for")?;
            }
        }
        Ok(())
    }
}

/// What a workload is called.
pub(super) fn name(number: usize) -> String {
    format!("w{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_that_is_taken_out_takes_its_entry_and_its_rules_with_it() {
        let pattern = Pattern { programs: vec!["/opt/a".into(), "/opt/b".into()], rules: 3 };
        let (both, one) = (pattern.document(2, 1), pattern.document(1, 2));

        assert!(
            both.contains("w1: {listens: {http: 8443}, attest: {prod: [\"unix:path:/opt/b\"]}}")
        );
        assert!(both.contains("members: [origin, w0, w1]") && both.contains("to: w1"));
        assert!(one.contains("members: [origin, w0], mode"), "{one}");
        assert!(!one.contains("w1") && one.contains("why: edition 2"), "{one}");
        assert_eq!([&both, &one].map(|text| text.matches("name: rule-").count()), [3, 2]);
    }
}
