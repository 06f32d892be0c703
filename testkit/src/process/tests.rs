use super::*;

const SOON: Duration = Duration::from_secs(5);

fn shell(folder: &Path, script: &str) -> Spawn {
    Spawn::new("shell", Path::new("/bin/sh"), folder).args(["-c", script])
}

#[tokio::test]
async fn a_line_is_found_by_its_fields_among_what_is_no_json() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo noise >&2; echo '{"message":"listening","mesh":"1.2.3.4:5"}' >&2; read x"#;
    let mut process = shell(folder.path(), script).with_input().start().unwrap();

    let line = process.message("listening", SOON).await.unwrap();

    assert_eq!(line["mesh"], "1.2.3.4:5");
    process.say("go on").await.unwrap();
    assert!(process.ended(SOON).await.unwrap().success());
}

#[tokio::test]
async fn a_process_that_ends_first_is_an_error_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell(folder.path(), "echo 'no such key' >&2; exit 3").start().unwrap();

    let error = process.message("listening", SOON).await.unwrap_err();

    let text = format!("{error:#}");
    assert!(text.contains("exit status: 3") && text.contains("no such key"), "{text}");
}

#[tokio::test]
async fn a_second_process_of_a_name_does_not_give_the_first_ones_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = shell(folder.path(), r#"echo '{"run":1}' >&2"#).start().unwrap();
    first.ended(SOON).await.unwrap();
    let mut second = shell(folder.path(), r#"echo '{"run":2}' >&2; read x"#);
    second = second.with_input();
    let mut second = second.start().unwrap();

    let line = second.logged(SOON, |line| line["run"].is_number()).await.unwrap();

    assert_eq!(line["run"], 2);
}

#[tokio::test]
async fn a_dropped_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "exec sleep 600").start().unwrap();
    let id = Pid::from_raw(i32::try_from(process.id()).unwrap());

    drop(process);

    let gone = async {
        while signal::kill(id, None).is_ok() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
}

#[tokio::test]
async fn stop_sends_sigterm_and_kill_needs_no_consent() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"trap 'exit 7' TERM; echo '{"message":"up"}' >&2; while :; do read x; done"#;
    let mut polite = shell(folder.path(), script).with_input().start().unwrap();
    polite.message("up", SOON).await.unwrap();
    // A shell runs its trap once the command in progress has ended.
    polite.signal(Signal::SIGTERM).unwrap();
    polite.say("").await.unwrap();
    assert_eq!(polite.ended(SOON).await.unwrap().code(), Some(7));

    let mut stubborn = shell(folder.path(), "trap '' TERM; exec sleep 600").start().unwrap();
    stubborn.kill().await.unwrap();
    assert!(!stubborn.is_running().unwrap());
}
