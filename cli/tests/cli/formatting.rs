//! `policy fmt` and `policy schema`: files in one style, on disk and through pipes.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    process::Stdio,
};

use crate::run::{Ran, Shell};

const FILE: &str = "policy/segments/payments.yaml";

fn text(shell: &Shell, file: &str) -> String {
    fs::read_to_string(shell.path(file)).unwrap()
}

/// A policy in the style already, but for one rule.
fn untidy() -> Shell {
    let shell = Shell::new();
    assert_eq!(shell.run(&["policy", "fmt", "-q"]).code, 0);
    shell.edit(
        "segments/payments.yaml",
        "  - name: checkout-initiates\n    from: checkout\n",
        "  - from: checkout\n    name:   checkout-initiates\n",
    );
    shell
}

fn piped(shell: &Shell, args: &[&str], input: &str) -> Ran {
    let mut command = shell.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_check_prints_the_difference_writes_nothing_and_ends_with_3() {
    let shell = untidy();
    let before = text(&shell, FILE);
    let ran = shell.run(&["policy", "fmt", "--check"]);
    let line = before.lines().position(|line| line == "  - from: checkout").unwrap() + 1;
    let expected = format!(
        "\
--- policy/segments/payments.yaml
+++ policy/segments/payments.yaml (formatted)
@@ -{0},4 +{0},4 @@
 rules:                     # allow. Nothing else does.
-  - from: checkout
-    name:   checkout-initiates
+  - name: checkout-initiates
+    from: checkout
     role: payment-initiator
1 file would change. Run `cellwall policy fmt` to write it.
",
        line - 1
    );
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (3, expected.as_str(), ""));
    assert_eq!(text(&shell, FILE), before);
}

#[test]
fn files_are_rewritten_in_place_and_a_second_run_changes_nothing() {
    let shell = untidy();
    let ran = shell.run(&["policy", "fmt"]);
    let expected = format!("formatted {FILE}\n1 file formatted, 1 as before\n");
    assert_eq!((ran.code, ran.stdout), (0, expected));
    assert!(text(&shell, FILE).contains("  - name: checkout-initiates\n    from: checkout\n"));
    assert_eq!(shell.run(&["policy", "fmt"]).stdout, "0 files formatted, 2 as before\n");
    let ran = shell.run(&["policy", "fmt", "--check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0 files would change.\n"));
    let names: Vec<_> = fs::read_dir(shell.path("policy/segments")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn a_file_that_is_no_document_is_shown_and_left_and_the_others_are_formatted() {
    let shell = untidy();
    shell.edit(
        "cellwall.yaml",
        "include: [segments/*.yaml]",
        "include: [segments/*.yaml, more.yaml]",
    );
    let broken = "version: cellwall/v1\nrules: [a\n";
    fs::write(shell.path("policy/more.yaml"), broken).unwrap();
    let ran = shell.run(&["policy", "fmt"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, "`cellwall explain CW0001` says more\n"));
    assert!(ran.stdout.starts_with("error[CW0001]: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("--> policy/more.yaml:2:8\n"), "{}", ran.stdout);
    let end = format!("formatted {FILE}\n1 file formatted, 1 as before\n");
    assert!(ran.stdout.ends_with(&end), "{}", ran.stdout);
    assert_eq!(text(&shell, "policy/more.yaml"), broken);
}

#[test]
fn one_file_and_the_standard_streams_can_be_formatted() {
    let shell = untidy();
    let ran = shell.run(&["policy", "fmt", FILE]);
    assert_eq!(
        (ran.code, ran.stdout),
        (0, format!("formatted {FILE}\n1 file formatted, 0 as before\n"))
    );
    let ran = piped(&shell, &["policy", "fmt", "-"], "rules:\n- from:  a\n  name: b # c\n");
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "rules:\n  - name: b  # c\n    from: a\n", "")
    );
    let ran = piped(&shell, &["policy", "fmt", "-", "--check"], "a:  b\n");
    let diff = "--- stdin\n+++ stdin (formatted)\n@@ -1 +1 @@\n-a:  b\n+a: b\n";
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.starts_with(diff), "{}", ran.stdout);
    let ran = piped(&shell, &["policy", "fmt", "-"], "a: [\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert!(ran.stderr.contains("--> stdin:1:4\n"), "{}", ran.stderr);
    let ran = shell.run(&["policy", "fmt", "nowhere.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.starts_with("error: cannot read nowhere.yaml: "), "{}", ran.stderr);
}

#[test]
fn permissions_and_links_stay() {
    let shell = untidy();
    let real = shell.path("policy/segments/real.yml");
    fs::rename(shell.path(FILE), &real).unwrap();
    symlink("real.yml", shell.path(FILE)).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(shell.run(&["policy", "fmt"]).code, 0);
    assert!(fs::symlink_metadata(shell.path(FILE)).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o7777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("  - name: checkout-initiates\n"));
}

#[test]
fn a_document_names_every_file_and_its_difference() {
    let shell = untidy();
    let ran = shell.run(&["policy", "fmt", "--check", "-o", "json"]);
    let document = ran.json();
    assert_eq!((ran.code, &document["schema_version"]), (3, &1.into()));
    assert_eq!(document["files"][0]["changes"], false);
    assert_eq!(document["files"][1]["file"], FILE);
    assert_eq!(document["files"][1]["changes"], true);
    let diff = document["files"][1]["diff"].as_str().unwrap();
    assert!(diff.contains("\n-    name:   checkout-initiates\n"), "{diff}");
}

#[test]
fn the_schema_is_a_document_for_editors() {
    let ran = Shell::new().run(&["policy", "schema"]);
    let schema = ran.json();
    assert_eq!(
        (ran.code, &schema["$schema"]),
        (0, &"http://json-schema.org/draft-07/schema#".into())
    );
    assert_eq!(schema["properties"]["version"]["enum"][0], "cellwall/v1");
}
