//! IDs of other trust domains: which they are, and where they may stand.

use std::collections::BTreeSet;

use cellwall_policy::{canonical_id, is_reserved};

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::Who,
    place::Place,
    syntax::{RuleItem, Text},
};

/// Whether a selector may name an ID of another trust domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outsiders {
    /// It says who calls.
    Welcome,
    /// It says who is called, and only our workloads are.
    Refused,
}

impl Checker<'_> {
    /// An ID of another trust domain, canonical.
    pub(super) fn outsider(&mut self, text: &Text, outsiders: Outsiders) -> Option<String> {
        let refuse =
            |message: String| Problem::error(Code::BadForeignIdentity, text.place, message);
        let id = canonical_id(&text.value).filter(|id| !id.path().is_empty());
        let ours = self.parts.template.as_ref();
        let problem = match id {
            None => refuse(format!("`{}` is not a whole SPIFFE ID", text.value))
                .help("write it as its trust domain does: `spiffe://partner.example/pay/gateway`"),
            Some(id) if ours.is_some_and(|ours| ours.trust_domain() == id.trust_domain()) => {
                let shape = ours.and_then(|ours| ours.read(&id));
                let known = shape.and_then(|(shape, _)| self.parts.by_shape.get(&shape));
                let named = known.and_then(|number| self.parts.workloads.get(number.0));
                let message = format!("`{}` is of our own trust domain", text.value);
                refuse(message).help(match named {
                    Some(workload) => format!("write the workload's name: `{}`", workload.name),
                    None => "a workload is named as under `workloads`".to_owned(),
                })
            }
            Some(id) if is_reserved(&id) => {
                let message = "IDs below `/cellwall/` are Cellwall's own, here and elsewhere";
                Problem::error(Code::ReservedIdentity, text.place, message)
            }
            Some(_) if outsiders == Outsiders::Refused => {
                refuse("an ID of another trust domain cannot be called here".to_owned())
                    .help("only workloads of this policy are called; it may stand in `from`")
            }
            Some(_) => return Some(text.value.clone()),
        };
        self.problems.push(problem);
        None
    }

    /// Who has no environment is let in only by a rule that looks at none.
    pub(super) fn goes_far_enough(
        &mut self,
        item: &RuleItem,
        from: &Who,
        across: &BTreeSet<String>,
    ) {
        let Some(template) = &self.parts.template else { return };
        let kept = template.variables().any(|variable| !across.contains(variable));
        if from.foreign.is_empty() || !kept {
            return;
        }
        let all: Vec<_> = template.variables().collect();
        let message = "an ID of another trust domain has no environment";
        let problem = Problem::error(Code::BadForeignIdentity, item.from.place, message)
            .label("so the boundary keeps it out")
            .help(format!("add `across: [{}]` if it may call every environment", all.join(", ")));
        self.problems.push(problem);
    }

    /// The variables that a rule may cross.
    pub(super) fn across(&mut self, texts: &[Text]) -> Option<BTreeSet<String>> {
        let known: BTreeSet<String> =
            self.parts.template.iter().flat_map(|it| it.variables()).map(str::to_owned).collect();
        // Without a template every name would look unknown.
        self.parts.template.as_ref()?;
        let mut across = BTreeSet::new();
        let mut whole = true;
        for text in texts {
            if known.contains(&text.value) {
                across.insert(text.value.clone());
                continue;
            }
            whole = false;
            let near = Self::meant(&mut self.suggestions, &text.value, known.iter());
            let message = format!("`identity` has no variable `{{{}}}`", text.value);
            let problem = Problem::error(Code::UnknownLabel, text.place, message);
            self.problems.push(match near {
                Some(near) => problem.suggest(Some(near)),
                None if known.is_empty() => problem.help("it has none, so there is no boundary"),
                None => problem.help(format!("it has {}", listed(&known))),
            });
        }
        whole.then_some(across)
    }

    /// A part of a text, where the file has the text as it is; else the whole.
    pub(super) fn inside(&self, text: &Text, range: &std::ops::Range<usize>) -> Place {
        let written = self.files.text(text.place).unwrap_or_default();
        let quoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| written.strip_prefix(quote)?.strip_suffix(quote));
        let offset = if written == text.value {
            0
        } else if quoted == Some(text.value.as_str()) {
            1
        } else {
            return text.place;
        };
        Place::new(text.place.file, text.place.start + offset + range.start, range.len())
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
