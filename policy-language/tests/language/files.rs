//! The files of a policy: which are read, and what keeps the others out.

use std::{fs, os::unix::fs::symlink, path::Path};

use cellwall_policy_language::{Sources, SourcesError, load};
use tempfile::TempDir;

const ROOT: &str = "version: cellwall/v1\nidentity: \"spiffe://a/{env}/{workload}\"\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn names(folder: &Path) -> Vec<String> {
    Sources::from_dir(folder).unwrap().files.into_keys().collect()
}

#[test]
fn include_names_files_below_the_folder_by_pattern() {
    let root = format!("{ROOT}include: [segments/*.yaml, \"team-*/policy.yaml\", one.yaml]\n");
    let folder = folder(&[
        ("cellwall.yaml", &root),
        ("one.yaml", "1"),
        ("two.yaml", "2"),
        ("segments/a.yaml", "a"),
        ("segments/b.yml", "b"),
        ("segments/.c.yaml", "c"),
        ("segments/deep/d.yaml", "d"),
        ("team-x/policy.yaml", "x"),
        ("team-y/other.yaml", "y"),
        ("team-z", "no folder"),
        ("teams/policy.yaml", "z"),
    ]);
    assert_eq!(
        names(folder.path()),
        ["cellwall.yaml", "one.yaml", "segments/a.yaml", "team-x/policy.yaml"]
    );
}

#[test]
fn only_include_names_files() {
    let root = format!("{ROOT}probes: [a.yaml]\ninclude: [b.yaml]\noperators: [c.yaml]\n");
    let folder =
        folder(&[("cellwall.yaml", &root), ("a.yaml", "a"), ("b.yaml", "b"), ("c.yaml", "c")]);
    assert_eq!(names(folder.path()), ["b.yaml", "cellwall.yaml"]);
}

#[test]
fn nothing_outside_of_the_folder_is_ever_read() {
    let outside = folder(&[("secret.yaml", "secret")]);
    let secret = outside.path().join("secret.yaml");
    for pattern in ["../*.yaml", "/etc/*.yaml", "./a.yaml", "a//b.yaml", "**/a.yaml", "a"] {
        let root = format!("{ROOT}include: [\"{pattern}\", \"{}\"]\n", secret.display());
        let inside = folder(&[("cellwall.yaml", &root), ("a", "no policy")]);
        assert_eq!(names(inside.path()), ["cellwall.yaml"], "{pattern}");
    }
    let root = format!("{ROOT}include: [\"*/*.yaml\", \"*.yaml\"]\n");
    let linked = folder(&[("cellwall.yaml", &root)]);
    symlink(&secret, linked.path().join("a.yaml")).unwrap();
    let refused = Sources::from_dir(linked.path());
    assert!(matches!(refused, Err(SourcesError::Outside(_))), "{refused:?}");
    let linked = folder(&[("cellwall.yaml", &root)]);
    symlink(outside.path(), linked.path().join("sub")).unwrap();
    let refused = Sources::from_dir(linked.path());
    assert!(matches!(refused, Err(SourcesError::Outside(_))), "{refused:?}");
}

#[test]
fn a_folder_without_root_and_files_that_are_no_text_are_errors() {
    let empty = folder(&[]);
    assert!(matches!(Sources::from_dir(empty.path()), Err(SourcesError::Io { .. })));
    let binary = folder(&[]);
    fs::write(binary.path().join("cellwall.yaml"), [0xff, 0xfe, 0]).unwrap();
    assert!(matches!(Sources::from_dir(binary.path()), Err(SourcesError::NotText(_))));
    let largest = folder(&[("cellwall.yaml", &"#".repeat(1024 * 1024))]);
    assert_eq!(names(largest.path()), ["cellwall.yaml"]);
    let large = folder(&[("cellwall.yaml", &"#".repeat(1024 * 1024 + 1))]);
    assert!(matches!(Sources::from_dir(large.path()), Err(SourcesError::TooLong(_))));
}

#[test]
fn sources_without_their_root_have_a_finding_and_no_policy() {
    let findings = load(&Sources::default()).unwrap_err();
    assert_eq!(findings.to_string(), "1 error, 0 warnings");
    assert_eq!(findings.0[0].code, "CW0008");
}
