//! The demo's policy, with its tokens filled in as `cargo demo` does.

use std::path::Path;

use cellwall_policy_language::{Paint, Sources, check};

#[test]
fn the_demos_policy_has_no_findings_and_passes_its_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/policy");
    let mut sources = Sources::from_dir(&folder).unwrap();
    let names = [
        "gateway",
        "checkout",
        "payments",
        "fraud",
        "ledger",
        "ledger-db",
        "card-vault",
        "notifier",
    ];
    for text in sources.files.values_mut() {
        for name in names {
            *text = text.replace(
                &format!("@SELECTOR_{name}@"),
                &format!("unix:path:/tmp/demo/{name}/cellwall-proxy"),
            );
        }
    }
    let checked = check(&sources);
    assert!(checked.findings.0.is_empty(), "{}", checked.findings.render(&sources, Paint::Plain));
    let set = checked.set.unwrap();
    let held: Vec<_> = set.entries().iter().map(|entry| entry.workload.as_str()).collect();
    assert_eq!(held, names);
    let report = set.run_tests();
    assert_eq!((report.passed(), report.failed()), (19, 0));
    assert_eq!(report.untested_rules, Vec::<String>::new());
}
