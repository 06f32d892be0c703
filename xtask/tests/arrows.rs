//! The drawing of docs/ARCHITECTURE.md, enforced: who may depend on whom.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may use of the workspace in its product code.
const ARROWS: [(&str, &[&str]); 11] = [
    ("agent", &["api"]),
    ("api", &[]),
    // `micro` measures them in its own process; `fleet` speaks to `cellwalld` as sidecars do.
    ("bench", &["api", "mtls", "policy"]),
    ("cli", &["policy", "policy-language"]),
    ("control-plane", &["agent", "api", "mtls", "policy", "policy-language"]),
    ("mtls", &[]),
    ("policy", &[]),
    ("policy-language", &["policy"]),
    ("proxy", &["api", "mtls", "policy"]),
    // The witness shares no code with what it watches.
    ("testkit", &["api"]),
    ("xtask", &["testkit"]),
];

/// What only tests may use.
const IN_TESTS: [&str; 2] = ["testkit", "policy-language"];

fn short(name: &str) -> Option<&str> {
    name.strip_prefix("cellwall-")
}

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut seen = Vec::new();
    for package in metadata.workspace_packages() {
        let name = short(&package.name).unwrap();
        seen.push(name.to_owned());
        for dependency in &package.dependencies {
            let Some(used) = short(&dependency.name) else { continue };
            let drawn = allowed[name].contains(&used);
            let test = dependency.kind == DependencyKind::Development && IN_TESTS.contains(&used);
            assert!(drawn || test, "{name} -> {used} is not in the drawing");
        }
    }
    seen.sort();
    assert_eq!(seen, allowed.keys().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn the_policy_engine_has_no_clock_no_async_and_no_parser() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let policy = metadata.workspace_packages();
    let policy = policy.iter().find(|package| short(&package.name) == Some("policy")).unwrap();
    for banned in ["tokio", "serde-saphyr", "hyper", "tonic", "time"] {
        assert!(policy.dependencies.iter().all(|used| used.name != banned), "{banned}");
    }
}

#[test]
fn the_proxy_never_reads_a_policy_document() {
    let metadata = MetadataCommand::new().exec().unwrap();
    let resolve = metadata.resolve.as_ref().unwrap();
    let named = |id| metadata[id].name.to_string();
    let proxy = resolve.nodes.iter().find(|node| named(&node.id) == "cellwall-proxy").unwrap();
    let normal = |kinds: &[cargo_metadata::DepKindInfo]| {
        kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
    };
    let mut todo = vec![proxy];
    let mut reached = Vec::new();
    while let Some(node) = todo.pop() {
        for dependency in node.deps.iter().filter(|dependency| normal(&dependency.dep_kinds)) {
            if !reached.contains(&dependency.pkg) {
                reached.push(dependency.pkg.clone());
                todo.push(&resolve[&dependency.pkg]);
            }
        }
    }
    for id in &reached {
        let name = named(id);
        let parser = name == "cellwall-policy-language" || name == "serde-saphyr";
        assert!(!parser, "the proxy reaches {name}");
    }
}
