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
        write!(f, "  so       {}", explanation.so)?;
        if let Some(owner) = &explanation.owner {
            write!(f, "  (owner: {owner})")?;
        }
        let Some(fix) = &explanation.fix else { return Ok(()) };
        write!(f, "\n\n  fix      {}   {}:{}", fix.summary, fix.file, fix.line)?;
        if fix.text.contains('\n') {
            let lines = fix.text.lines().map(|line| format!("\n           {line}"));
            f.write_str(&lines.collect::<String>())?;
        }
        write!(f, "\n           tried: it allows exactly this call")
    }
}

impl ExplainedSide {
    /// `ENV/WORKLOAD`, as questions spell it.
    pub(super) fn name(&self) -> String {
        match self.environment.as_str() {
            "" => self.workload.clone(),
            environment => format!("{environment}/{}", self.workload),
        }
    }
}

impl Explanation {
    fn side(&self, f: &mut fmt::Formatter<'_>, head: &str, side: &ExplainedSide) -> fmt::Result {
        let name = match side.workload.as_str() {
            "" => "not in the policy".to_owned(),
            _ => side.name(),
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
