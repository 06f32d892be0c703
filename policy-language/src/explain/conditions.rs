//! Whether the conditions, terms and crossings of one case hold, in words.

use std::time::{Duration, SystemTime};

use cellwall_policy::{Tls, TlsFact, Truth};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Case;
use crate::{
    PolicySet,
    condition::{Attribute, Fact, Folded, Known},
    model::{Grant, Rule, When, WorkloadNumber},
};

impl PolicySet {
    /// Whether a condition holds for the two sides of a case, over a connection as two sidecars of
    /// this release have it.
    pub(super) fn truth(&self, when: &When, case: &Case<'_>) -> Truth {
        let (caller_side, callee_side) = &case.sides;
        let tls = Tls::default();
        let known = |attribute: &Attribute| match attribute {
            Attribute::Tls(TlsFact::Version) => Known::Text(tls.version),
            Attribute::Tls(TlsFact::Group) => Known::Text(tls.group),
            Attribute::Caller(fact) => self.fact(fact, case.caller, &caller_side.environment),
            Attribute::Callee(fact) => self.fact(fact, Some(case.callee), &callee_side.environment),
        };
        match when.condition.fold(&known) {
            Folded::Decided(decided) => decided.into(),
            // Everything is known here.
            Folded::Left(_) => Truth::Unknown,
        }
    }

    fn fact<'a>(
        &'a self,
        fact: &Fact,
        workload: Option<WorkloadNumber>,
        environment: &'a str,
    ) -> Known<'a> {
        let text = match fact {
            Fact::Workload | Fact::Segment | Fact::Label(_) => workload
                .and_then(|number| self.workload(number))
                .and_then(|workload| workload.fact(fact, &self.segments)),
            Fact::Variable(name) => {
                let place = self.template.variables().position(|variable| variable == name);
                let mut values = environment.split('/').filter(|_| !environment.is_empty());
                place.and_then(|place| values.nth(place))
            }
        };
        text.map_or(Known::Absent, Known::Text)
    }

    /// Why a rule does not allow, apart from caller and call.
    pub(super) fn obstacles(&self, rule: &Rule, case: &Case<'_>) -> Vec<String> {
        let crossed = self.boundaries(&case.sides.0, &case.sides.1);
        let mut obstacles: Vec<_> = crossed
            .iter()
            .filter(|boundary| boundary.crossed && !rule.across.contains(&boundary.variable))
            .map(|boundary| format!("does not go across {}", boundary.variable))
            .collect();
        if let Some(when) = &rule.when {
            obstacles.extend(unmet(when, self.truth(when, case)));
        }
        obstacles
    }
}

/// Why a condition keeps a rule from allowing.
fn unmet(when: &When, truth: Truth) -> Option<String> {
    match truth {
        Truth::Holds => None,
        Truth::Fails => Some(format!("`{}` does not hold", when.text)),
        Truth::Unknown => Some(format!("`{}` cannot be said of this caller", when.text)),
    }
}

/// Why a grant is not in force.
pub(super) fn term(grant: &Grant, now: SystemTime) -> Option<String> {
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    if now < at(grant.starts) {
        Some(format!("starts {}", shown(at(grant.starts))))
    } else if now >= at(grant.expires) {
        Some(format!("over since {}", shown(at(grant.expires))))
    } else {
        None
    }
}

pub(super) fn shown(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}
