//! Guards of some calls: which paths they are about.

use cellwall_policy::{Callers, GuardDocument, Mode};

use crate::sample::{answer, guard, http, named, open_vault, rule};

#[test]
fn a_guard_denies_a_path_with_and_without_a_slash_at_its_end() {
    let mut document = open_vault();
    document.mode = Mode::Audit;
    let calls = ["/a", "/b/", "/c/{x}", "/d/{rest...}", "/e/{x}/", "/"].map(|it| http("POST", it));
    let calls = calls.to_vec();
    document.rules.clear();
    document.guards = vec![GuardDocument { calls, ..guard("g", Callers::Any, "") }];
    for (path, is_denied) in [
        ("/a", true),
        ("/a/", true),
        ("/a/x", false),
        ("/a/x/", false),
        ("/b", true),
        ("/b/", true),
        ("/c/1", true),
        ("/c/1/", true),
        ("/d/1", true),
        ("/d/1/", true),
        ("/d/1/2/", true),
        ("/e/1", true),
        ("/e/1/", true),
        ("/", true),
        // A slash is no segment: a template with one segment more is about another path.
        ("/c", false),
        ("/c/", false),
        ("/d", false),
        ("/d/", false),
        ("/e/", false),
        ("/x", false),
    ] {
        let expected = if is_denied { "deny by guard/g" } else { "audit by default" };
        assert_eq!(answer(&document, "prod/checkout", "POST", path), expected, "{path}");
        assert_eq!(answer(&document, "prod/checkout", "PUT", path), "audit by default", "{path}");
    }
    // In audit it records both.
    document.guards[0].mode = Mode::Audit;
    for path in ["/a", "/a/", "/b", "/d/1/"] {
        assert_eq!(answer(&document, "prod/checkout", "POST", path), "audit by guard/g", "{path}");
    }
}

#[test]
fn a_rule_opens_a_path_only_with_the_slash_that_it_has() {
    let mut document = open_vault();
    let calls = ["/a", "/b/", "/c/{x}", "/d/{rest...}"].map(|it| http("POST", it));
    document.rules = vec![rule("r", named("checkout"), &calls)];
    for (path, is_allowed) in [
        ("/a", true),
        ("/a/", false),
        ("/b", false),
        ("/b/", true),
        ("/c/1", true),
        ("/c/1/", false),
        ("/d/1", true),
        ("/d/1/", false),
    ] {
        let expected = if is_allowed { "allow by r" } else { "deny by default" };
        assert_eq!(answer(&document, "prod/checkout", "POST", path), expected, "{path}");
    }
}
