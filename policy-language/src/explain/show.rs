//! An explanation as people read it.

use std::fmt;

use super::{ExplainedSide, Explanation};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  by {}", self.verdict.to_uppercase(), self.by)?;
        if let Some(why) = &self.why {
            write!(f, "  ({why})")?;
        }
        writeln!(f)?;
        self.side(f, "caller", &self.caller)?;
        self.side(f, "callee", &self.callee)?;
        write!(f, "  call     {}", self.call)?;
        if let Some(route) = self.route.as_ref().filter(|route| !self.call.ends_with(*route)) {
            write!(f, "  (template {route})")?;
        }
        writeln!(f, "\n")?;
        self.clauses().fmt(f)
    }
}

/// The guards, boundaries and rules of an explanation, and the outcome: what stands below its head.
#[derive(Clone, Copy, Debug)]
pub struct Clauses<'a>(&'a Explanation);

impl Explanation {
    /// What stands below the head.
    pub const fn clauses(&self) -> Clauses<'_> {
        Clauses(self)
    }
}

impl fmt::Display for Clauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(explanation) = self;
        let mut head = "guards";
        for guard in &explanation.guards {
            line(f, head, &guard.name, guard.applies, &guard.because)?;
            writeln!(f)?;
            head = "";
        }
        if explanation.guards.is_empty() {
            writeln!(f, "  guards   none is about {}", explanation.callee.workload)?;
        }
        head = "boundary";
        for boundary in &explanation.boundaries {
            let sign = if boundary.crossed { "!=" } else { "==" };
            let because = format!("{} {sign} {}", boundary.caller, boundary.callee);
            line(f, head, &boundary.variable, boundary.crossed, &because)?;
            writeln!(f)?;
            head = "";
        }
        head = "rules";
        for rule in &explanation.rules {
            line(f, head, &rule.name, rule.applies, &rule.because)?;
            writeln!(f, "{}", if rule.nearest { "  <- nearest" } else { "" })?;
            head = "";
        }
        if explanation.rules.is_empty() {
            writeln!(f, "  rules    none is about {}", explanation.callee.workload)?;
        }
        write!(f, "  so       {}", explanation.so)
    }
}

impl Explanation {
    fn side(&self, f: &mut fmt::Formatter<'_>, head: &str, side: &ExplainedSide) -> fmt::Result {
        let name = match side.environment.as_str() {
            _ if side.workload.is_empty() => "not in the policy".to_owned(),
            "" => side.workload.clone(),
            environment => format!("{environment}/{}", side.workload),
        };
        writeln!(f, "  {head:<8} {name:<22} {}", side.spiffe_id)
    }
}

fn line(
    f: &mut fmt::Formatter<'_>,
    head: &str,
    name: &str,
    applies: bool,
    because: &str,
) -> fmt::Result {
    let applies = if applies { "yes" } else { "no" };
    write!(f, "  {head:<8} {name:<22} {applies:<4} {because}")
}
