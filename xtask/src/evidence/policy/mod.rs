//! The policy language and its tools: what the issue asks to show.

mod cost;
mod example;
mod properties;

use super::{Effort, Item, Shown, fuzz, mutants, steps};

/// In the order of the issue.
pub(super) const ITEMS: &[Item] = &[
    Item {
        title: "the manual's example: its tests, and a plan with replayed calls",
        run: example::plan,
    },
    Item { title: "properties on random policies", run: properties::random },
    Item { title: "what a decision and a compilation cost", run: cost::figures },
    Item { title: "fuzzers: documents, conditions, path templates, the formatter", run: fuzzed },
    Item { title: "mutants of the policy and its language", run: whole_language },
    Item { title: "broken policies, each with its whole output", run: broken },
];

/// 4. What reads policy documents reads anything.
fn fuzzed(effort: Effort) -> anyhow::Result<Shown> {
    fuzz::targets(&fuzz::LANGUAGE, effort)
}

/// 5. What is changed anywhere in the engine or the language is noticed.
fn whole_language(effort: Effort) -> anyhow::Result<Shown> {
    let packages = ["cellwall-policy", "cellwall-policy-language"];
    mutants::shard("docs/mutants-policy.json", &packages, effort)
}

/// 6. Each broken policy prints what is committed, to the letter.
fn broken(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = crate::cargo::build(crate::cargo::Profile::Dev)?;
    let test = "broken::every_broken_policy_says_what_is_wrong_and_what_to_do";
    let figures = steps::figures_of(("cellwall-cli", "cli", test), &programs, effort)?;
    shown.goal(
        "25 broken policies or more",
        figures.get("policies").and_then(|it| it.as_u64()) >= Some(25),
    );
    shown.figures.extend(figures);
    Ok(shown)
}
