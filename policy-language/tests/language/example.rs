//! The payments example of the manual.

use std::path::Path;

use cellwall_policy_language::{Paint, PolicySet, Sources, check};

pub(crate) fn folder() -> Sources {
    Sources::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/example")).unwrap()
}

fn example() -> PolicySet {
    let sources = folder();
    let checked = check(&sources);
    assert!(checked.findings.0.is_empty(), "{}", checked.findings.render(&sources, Paint::Plain));
    checked.set.unwrap()
}

#[test]
fn the_example_loads_and_all_its_tests_pass() {
    let set = example();
    assert_eq!(
        set.summary().to_string(),
        "2 files (7 workloads, 4 segments, 8 rules, 1 guard, 11 tests)"
    );
    let report = set.run_tests();
    assert_eq!((report.passed(), report.failed()), (11, 0));
}
