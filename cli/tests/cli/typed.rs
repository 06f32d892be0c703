//! What is typed: wrong usage, quiet, colours.

use crate::run::Shell;

#[test]
fn wrong_usage_ends_with_2_and_says_so_on_stderr() {
    let shell = Shell::new();
    for args in [
        &[][..],
        &["policy"],
        &["policy", "validate", "a", "b"],
        &["polcy"],
        &["policy", "validate", "-o", "yaml"],
        &["version", "--color", "sometimes"],
    ] {
        let ran = shell.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn quiet_leaves_data_and_errors() {
    let shell = Shell::new();
    let ran = shell.run(&["-q", "policy", "validate"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.starts_with("0 errors"));
    let ran = shell.run(&["policy", "validate", "nowhere", "--quiet"]);
    assert!(ran.stderr.starts_with("error: "));
}

#[test]
fn colours_are_for_terminals_unless_they_are_asked_for() {
    let shell = Shell::new();
    shell.edit("segments/payments.yaml", "from: checkout", "from: checkot");
    let painted = |args: &[&str]| shell.run(args).stdout.contains('\u{1b}');
    assert!(!painted(&["policy", "validate"]));
    assert!(painted(&["policy", "validate", "--color", "always"]));
    assert!(!painted(&["policy", "validate", "--color", "never"]));
    // What is asked for outright beats the environment.
    let mut command = shell.command(&["policy", "validate", "--color", "always"]);
    let output = command.env("NO_COLOR", "1").env("TERM", "dumb").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains('\u{1b}'));
}
