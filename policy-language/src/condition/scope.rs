//! Whether a condition can be yes and can be no for anybody in its scope, by trying all that differ.

use std::collections::BTreeSet;

use cellwall_policy::TlsFact;

use super::{Attribute, Condition, Decided, Fact, Folded, Known, Term};

/// A side's values of the facts that a condition looks at, in the order of [`Facts`].
pub(crate) type Profile<'a> = Vec<Option<&'a str>>;

/// What a condition looks at.
#[derive(Debug, Default)]
pub(crate) struct Facts<'c> {
    /// Of the caller, without variables.
    pub(crate) caller: Vec<&'c Fact>,
    /// Of the callee, without variables.
    pub(crate) callee: Vec<&'c Fact>,
    caller_variables: Vec<&'c str>,
    callee_variables: Vec<&'c str>,
    tls: Vec<TlsFact>,
    /// Every text that it names.
    texts: BTreeSet<&'c str>,
    /// Whether it compares a variable with something else than a text or a variable.
    mixes: bool,
}

/// Everybody whom a statement is about.
#[derive(Debug)]
pub(crate) struct Everybody<'a> {
    pub(crate) callers: BTreeSet<Profile<'a>>,
    pub(crate) callees: BTreeSet<Profile<'a>>,
    /// The variables in which the two sides may differ: those that a rule goes across; `None` for
    /// all, before the boundary.
    pub(crate) across: Option<&'a BTreeSet<String>>,
    /// Whether a caller may have no variables, as one of another trust domain.
    pub(crate) foreign: bool,
}

/// What a condition comes to, over everybody.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcomes {
    pub(crate) holds: bool,
    pub(crate) fails: bool,
    pub(crate) unknown: bool,
}

impl Condition {
    /// What it looks at.
    pub(crate) fn facts(&self) -> Facts<'_> {
        let mut facts = Facts::default();
        self.collect(&mut facts);
        facts
    }

    fn collect<'c>(&'c self, facts: &mut Facts<'c>) {
        match self {
            Self::Not(inner) => inner.collect(facts),
            Self::And(one, other) | Self::Or(one, other) => {
                one.collect(facts);
                other.collect(facts);
            }
            Self::Equal(one, other) => {
                facts.term(one);
                facts.term(other);
                if let (Term::Attribute(one), Term::Attribute(other)) = (one, other) {
                    facts.mixes |= is_variable(one) != is_variable(other);
                }
            }
            Self::In(one, texts) => {
                facts.term(one);
                facts.texts.extend(texts.iter().map(String::as_str));
            }
        }
    }

    /// What it comes to for everybody; `None` where that takes more than `most` tries. Counts the
    /// tries down.
    pub(crate) fn outcomes(
        &self,
        facts: &Facts<'_>,
        everybody: &Everybody<'_>,
        most: &mut usize,
    ) -> Option<Outcomes> {
        let operands = facts.operands(everybody);
        let values = facts.values(everybody, operands.len());
        let choices = values.len() + 1;
        let assignments = u32::try_from(operands.len()).ok().and_then(|it| choices.checked_pow(it));
        let pairs = everybody.callers.len().checked_mul(everybody.callees.len());
        let tries = assignments.zip(pairs).and_then(|(one, other)| one.checked_mul(other))?;
        *most = most.checked_sub(tries)?;
        let mut outcomes = Outcomes::default();
        for caller in &everybody.callers {
            for callee in &everybody.callees {
                for number in 0..assignments? {
                    let chosen = chosen(number, &operands, &values);
                    let Some(chosen) = chosen.filter(|it| everybody.is_possible(&operands, it))
                    else {
                        continue;
                    };
                    let try_ = Try { facts, caller, callee, operands: &operands, chosen: &chosen };
                    match self.fold(&|attribute| try_.known(attribute)) {
                        Folded::Decided(Decided::Holds) => outcomes.holds = true,
                        Folded::Decided(Decided::Fails) => outcomes.fails = true,
                        Folded::Decided(Decided::Unknown) => outcomes.unknown = true,
                        Folded::Left(_) => return None,
                    }
                }
            }
        }
        Some(outcomes)
    }
}

/// Something whose value is not written in the documents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Free<'c> {
    Caller(&'c str),
    Callee(&'c str),
    Tls(TlsFact),
}

/// One way in which everything could be.
struct Try<'t> {
    facts: &'t Facts<'t>,
    caller: &'t Profile<'t>,
    callee: &'t Profile<'t>,
    operands: &'t [Free<'t>],
    chosen: &'t [Option<&'t str>],
}

impl Try<'_> {
    fn known(&self, attribute: &Attribute) -> Known<'_> {
        let value = match attribute {
            Attribute::Caller(Fact::Variable(name)) => self.free(Free::Caller(name)),
            Attribute::Callee(Fact::Variable(name)) => self.free(Free::Callee(name)),
            Attribute::Tls(fact) => self.free(Free::Tls(*fact)),
            Attribute::Caller(fact) => of(&self.facts.caller, self.caller, fact),
            Attribute::Callee(fact) => of(&self.facts.callee, self.callee, fact),
        };
        value.map_or(Known::Absent, Known::Text)
    }

    fn free(&self, wanted: Free<'_>) -> Option<&str> {
        let at = self.operands.iter().position(|free| *free == wanted)?;
        self.chosen.get(at).copied().flatten()
    }
}

impl<'c> Facts<'c> {
    fn term(&mut self, term: &'c Term) {
        match term {
            Term::Text(text) => {
                self.texts.insert(text);
            }
            Term::Attribute(Attribute::Tls(fact)) => push(&mut self.tls, *fact),
            Term::Attribute(Attribute::Caller(Fact::Variable(name))) => {
                push(&mut self.caller_variables, name);
            }
            Term::Attribute(Attribute::Callee(Fact::Variable(name))) => {
                push(&mut self.callee_variables, name);
            }
            Term::Attribute(Attribute::Caller(fact)) => push(&mut self.caller, fact),
            Term::Attribute(Attribute::Callee(fact)) => push(&mut self.callee, fact),
        }
    }

    /// What is free: also the callee's side of each variable of the caller's, which it must equal.
    fn operands(&self, everybody: &Everybody<'_>) -> Vec<Free<'c>> {
        let mut operands: Vec<_> = self.tls.iter().map(|fact| Free::Tls(*fact)).collect();
        operands.extend(self.callee_variables.iter().map(|name| Free::Callee(name)));
        for name in &self.caller_variables {
            operands.push(Free::Caller(name));
            if !everybody.differ(name) && !self.callee_variables.contains(name) {
                operands.push(Free::Callee(name));
            }
        }
        operands
    }

    /// Values enough for each way in which the free ones can be equal or not.
    fn values<'v>(&self, everybody: &Everybody<'v>, free: usize) -> Vec<&'v str>
    where
        'c: 'v,
    {
        const NEW: [&str; 6] = ["~0", "~1", "~2", "~3", "~4", "~5"];
        let mut values: BTreeSet<&'v str> = self.texts.iter().copied().collect();
        if self.mixes {
            let profiles = everybody.callers.iter().chain(&everybody.callees);
            values.extend(profiles.flatten().flatten());
        }
        values.into_iter().chain(NEW.into_iter().take(free)).collect()
    }
}

impl Everybody<'_> {
    fn differ(&self, variable: &str) -> bool {
        self.across.is_none_or(|across| across.contains(variable))
    }

    /// Whether sides that may not differ do not, and only strangers lack what others have.
    fn is_possible(&self, operands: &[Free<'_>], chosen: &[Option<&str>]) -> bool {
        let value = |wanted: Free<'_>| {
            let at = operands.iter().position(|free| *free == wanted)?;
            chosen.get(at).copied()
        };
        let lacks = |free: &Free<'_>| value(*free) == Some(None);
        let callers = operands.iter().filter(|free| matches!(free, Free::Caller(_)));
        operands.iter().all(|free| match free {
            Free::Callee(_) | Free::Tls(_) => value(*free) != Some(None),
            Free::Caller(name) if value(*free) != Some(None) => {
                self.differ(name) || value(Free::Callee(name)) == value(*free)
            }
            // One of another trust domain has none of the variables.
            Free::Caller(_) => self.foreign && callers.clone().all(lacks),
        })
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn is_variable(attribute: &Attribute) -> bool {
    matches!(attribute, Attribute::Caller(Fact::Variable(_)) | Attribute::Callee(Fact::Variable(_)))
}

fn of<'p>(facts: &[&Fact], profile: &'p Profile<'_>, wanted: &Fact) -> Option<&'p str> {
    let at = facts.iter().position(|fact| *fact == wanted)?;
    profile.get(at).copied().flatten()
}

/// The assignment of this number: a value, or none, for each of the free.
fn chosen<'v>(
    mut number: usize,
    operands: &[Free<'_>],
    values: &[&'v str],
) -> Option<Vec<Option<&'v str>>> {
    let mut chosen = Vec::with_capacity(operands.len());
    for _ in operands {
        let at = number.checked_rem(values.len() + 1)?;
        number = number.checked_div(values.len() + 1)?;
        chosen.push(values.get(at).copied());
    }
    Some(chosen)
}
