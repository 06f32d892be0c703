//! What to look at before a review date is moved: each statement, what it opens, and its tests.

use std::collections::BTreeMap;

use serde::Serialize;

use super::edges::Edge;
use crate::{
    CompileError, PolicySet, Sources,
    model::{Grant, Rule, Stewardship},
    place::{Files, Place},
};

/// Statements that one `review_by` is about.
#[derive(Clone, Debug, Serialize)]
pub struct Review {
    /// The file.
    pub file: String,
    /// The line of the date.
    pub line: usize,
    /// The date as it is written.
    pub review_by: String,
    /// The bytes of the date in the file.
    #[serde(skip)]
    pub bytes: std::ops::Range<usize>,
    /// The statements, in the order of files and lines.
    pub statements: Vec<Reviewed>,
}

/// A statement that somebody looks at again.
#[derive(Clone, Debug, Serialize)]
pub struct Reviewed {
    /// `rule`, `grant` or `guard`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its line.
    pub line: usize,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Why it is there.
    pub why: String,
    /// The role, if its calls are those of one.
    pub role: Option<String>,
    /// Who approved a grant.
    pub approved_by: Vec<String>,
    /// What it lets pass; of a guard, what passes because it is in audit.
    pub edges: Vec<Edge>,
    /// The tests that it decides, and that pass.
    pub tests: Vec<String>,
}

/// A statement, as its list has it.
struct Statement<'a> {
    kind: &'static str,
    /// How decisions name it.
    by: String,
    name: &'a str,
    why: &'a str,
    place: Place,
    stewardship: &'a Stewardship,
    role: Option<&'a String>,
    approved_by: &'a [String],
}

impl PolicySet {
    /// The statements of every `review_by`, in the order of files and lines. `sources` are those
    /// that this set was loaded from.
    ///
    /// # Errors
    ///
    /// [`CompileError`] when a callee has no policy, which loading would have found.
    pub fn reviews(&self, sources: &Sources) -> Result<Vec<Review>, CompileError> {
        let files = Files::of(sources);
        let edges = self.edges()?.edges;
        let report = self.run_tests();
        let mut reviews: BTreeMap<Place, Review> = BTreeMap::new();
        for statement in self.statements() {
            let Some(review_by) = statement.stewardship.review_by else { continue };
            let place = review_by.place;
            let review = reviews.entry(place).or_insert_with(|| {
                let (file, line) = files.line(place);
                let written = files.text(place).unwrap_or_default().to_owned();
                let bytes = place.start..place.start + place.length;
                Review { file, line, review_by: written, bytes, statements: Vec::new() }
            });
            let (file, line) = files.line(statement.place);
            let by = statement.by;
            let passed = report.results.iter().filter(|it| it.passed && it.by == by);
            review.statements.push(Reviewed {
                kind: statement.kind,
                name: statement.name.to_owned(),
                file,
                line,
                owner: statement.stewardship.owner.clone(),
                why: statement.why.to_owned(),
                role: statement.role.cloned(),
                approved_by: statement.approved_by.to_vec(),
                edges: edges.iter().filter(|edge| edge.passage.by == by).cloned().collect(),
                tests: passed.map(|it| format!("{} {}", it.expect, it.call)).collect(),
            });
        }
        Ok(reviews.into_values().collect())
    }

    fn statements<'s>(&'s self) -> Vec<Statement<'s>> {
        let rule = |rule: &'s Rule| Statement::of(rule, "rule", rule.name.clone(), &[]);
        let grant = |Grant { rule, approved_by, .. }: &'s Grant| {
            Statement::of(rule, "grant", format!("grant/{}", rule.name), approved_by)
        };
        let mut statements: Vec<Statement<'s>> = self.rules.iter().map(rule).collect();
        statements.extend(self.grants.iter().map(grant));
        statements.extend(self.guards.iter().map(|guard| Statement {
            kind: "guard",
            by: format!("guard/{}", guard.name),
            name: &guard.name,
            why: &guard.why,
            place: guard.place,
            stewardship: &guard.stewardship,
            role: None,
            approved_by: &[],
        }));
        statements.sort_by_key(|statement| statement.place);
        statements
    }
}

impl<'a> Statement<'a> {
    fn of(rule: &'a Rule, kind: &'static str, by: String, approved_by: &'a [String]) -> Self {
        let Rule { name, why, place, stewardship, role, .. } = rule;
        Self { kind, by, name, why, place: *place, stewardship, role: role.as_ref(), approved_by }
    }
}
