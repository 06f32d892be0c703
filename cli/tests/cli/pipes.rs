//! A reader that has seen enough is no error.

use std::process::Stdio;

use crate::run::Shell;

#[test]
fn a_closed_pipe_ends_the_program_without_a_word() {
    let shell = Shell::new();
    for args in [
        &["policy", "validate"][..],
        &["policy", "test"],
        &["policy", "test", "-o", "json"],
        &["explain", "CW0104"],
        &["version"],
        &["--help"],
    ] {
        let mut child = shell
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Nobody will ever read: each write fails with EPIPE.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("error"), "{args:?}: {stderr}");
    }
}

#[test]
fn a_closed_stderr_does_not_keep_the_exit_code_from_being_right() {
    let shell = Shell::new();
    let mut child = shell
        .command(&["policy", "validate", "nowhere"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
