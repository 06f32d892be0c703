//! Keys stay where they are used: not in logs, files, arguments, answers or dumps (SEC-01 to SEC-05).

use std::{fs, os::unix::process::ExitStatusExt as _, path::Path};

use cellwall_testkit::secrets::Canary;
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::json;

use crate::{
    daemon::{DEADLINE, Daemon, data_of},
    policy::we_are_web,
    workload::svid,
};

/// The sealing key as bytes.
fn sealing_key(daemon: &Daemon) -> Canary {
    let text = fs::read_to_string(daemon.data().join("sealing.key")).unwrap();
    let digits: Vec<_> = text.trim_end().chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    Canary::of(&bytes)
}

#[tokio::test]
async fn no_key_shows_in_logs_files_arguments_or_answers() {
    // SEC-02, SEC-03, with everything logged that can be
    let daemon = Daemon::start_with_policy(&["--log=trace"], &we_are_web()).await;
    let web = svid(&daemon.workload_socket, "/prod/web").await;
    let canaries = [sealing_key(&daemon), Canary::of_p256(&web.key).unwrap()];
    // What is refused is logged.
    assert_eq!(daemon.propose("version: none").await.0, 422);
    let mut answers = String::new();
    for path in ["/v1/status", "/v1/identities", "/v1/proxies", "/v1/policy", "/v1/nothing"] {
        answers.push_str(&daemon.get(path).await.1.to_string());
    }
    let mut found = Vec::new();
    for canary in &canaries {
        found.extend(canary.found_in(answers.as_bytes()).map(|form| format!("an answer: {form}")));
        if geteuid().is_root() {
            let process = canary.found_in_process(daemon.process.id()).unwrap();
            // It has its sealing key open at no time but the start.
            found.extend(process.into_iter().map(|hit| format!("{hit:?}")));
        }
    }
    let dir = daemon.stop().await;
    let mut bytes = answers.len() as u64;
    for log in ["cellwalld.out", "cellwalld.err"] {
        bytes += fs::metadata(dir.path().join(log)).unwrap().len();
    }
    let key = Path::new(&data_of(&dir)).join("sealing.key");
    for canary in &canaries {
        let below = canary.found_below(dir.path()).unwrap();
        // SEC-05: a copy of everything but the sealing key gives no key.
        let elsewhere = below.into_iter().filter(|(file, _)| *file != key);
        found.extend(elsewhere.map(|hit| format!("{hit:?}")));
    }
    assert_eq!(found, Vec::<String>::new());
    let figures = json!({"keys": canaries.len(), "bytes_searched": bytes, "found": found.len()});
    println!("evidence: {figures}");
}

#[tokio::test]
async fn a_core_that_is_asked_for_by_force_is_not_left() {
    // SEC-01
    let mut daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let canary = sealing_key(&daemon);
    daemon.process.signal(Signal::SIGABRT).unwrap();
    let status = daemon.process.ended(DEADLINE).await.unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    let found = canary.found_below(daemon.dir.path()).unwrap();
    let files: Vec<_> = found.iter().filter_map(|(file, _)| file.file_name()).collect();
    assert_eq!(files, ["sealing.key"]);
}
