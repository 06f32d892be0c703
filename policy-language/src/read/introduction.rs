//! `identity_header`: in which headers a workload reads who calls.

use std::collections::BTreeMap;

use cellwall_policy::IdentityHeader;

use super::{Reader, fields::Fields};
use crate::{
    codes::Code, finding::Problem, place::Place, suggest::nearest, syntax::IdentityHeaders,
};

impl Reader<'_> {
    /// What a workload says of it; `None` where it says nothing, or nothing that can be read.
    pub(super) fn identity_header(&mut self, fields: &Fields<'_>) -> Option<IdentityHeaders> {
        let node = fields.get("identity_header")?;
        let place = fields.place_of("identity_header")?;
        let before = self.problems.len();
        let mut first: BTreeMap<IdentityHeader, Place> = BTreeMap::new();
        for text in self.texts(node, "a list of headers", "a header") {
            let known = IdentityHeader::ALL.into_iter();
            let Some(header) = known.clone().find(|known| known.as_str() == text.value) else {
                let names = || known.clone().map(IdentityHeader::as_str);
                let message = format!("no sidecar says who calls in `{}`", text.value);
                let problem = Problem::error(Code::WrongType, text.place, message);
                self.problems.push(match nearest(&text.value, names()) {
                    Some(name) => problem.suggest(Some(name)),
                    None => problem
                        .help(format!("known are {}", names().collect::<Vec<_>>().join(", "))),
                });
                continue;
            };
            if let Some(first) = first.get(&header) {
                let message = format!("`{}` stands twice", text.value);
                let problem = Problem::error(Code::DuplicateName, text.place, message)
                    .help("remove one of the two: the workload gets each header once")
                    .related(*first, "first here");
                self.problems.push(problem);
                continue;
            }
            first.insert(header, text.place);
        }
        if first.is_empty() {
            // Of what could not be read, something was said already.
            if self.problems.len() == before {
                let message = "a list of headers that names none";
                let problem = Problem::error(Code::WrongType, node.place, message)
                    .help("a workload that is told nothing could believe what a caller says");
                self.problems.push(problem);
            }
            return None;
        }
        Some(IdentityHeaders { place, headers: first.into_keys().collect() })
    }
}
