//! `load run` and `load report`, with a scripted `cellwall-bench`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use serde_json::json;

use crate::{
    run::{Ran, Shell},
    server::scripted,
};

const VIA: &str = "127.0.0.1:2000";
const DIRECT: &str = "127.0.0.1:1000";

/// This program in a folder where the real `cellwall-bench` is not.
fn alone() -> Shell {
    let shell = Shell::bare();
    let program = shell.path("cellwall");
    let this = env!("CARGO_BIN_EXE_cellwall");
    fs::hard_link(this, &program).or_else(|_| fs::copy(this, &program).map(drop)).unwrap();
    shell
}

/// With one that writes down what it is asked, and reports these failures.
fn beside_a_bench(errors: &str) -> Shell {
    let shell = alone();
    let report = |p50: u32| {
        format!(
            r#"{{"report":{{"sent":120000,"ok":120000,"errors":{{{errors}}},"latency_us":{{"count":1,"p50":{p50},"p90":620,"p99":1080,"p999":2900,"max":11000,"mean":1.0}},"more":1}}}}"#
        )
    };
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> asked\ncase \"$*\" in *{DIRECT}*) echo '{}';; *) echo '{}';; esac\n",
        report(410),
        report(630)
    );
    fs::write(shell.path("cellwall-bench"), script).unwrap();
    fs::set_permissions(shell.path("cellwall-bench"), fs::Permissions::from_mode(0o755)).unwrap();
    shell
}

fn run(shell: &Shell, args: &[&str]) -> Ran {
    let mut command = Command::new(shell.path("cellwall"));
    command.arg("load").args(args).current_dir(shell.path("")).env_clear();
    let output: Output =
        command.env("CELLWALL_SOCKET", shell.path("operator.sock")).output().unwrap();
    output.into()
}

#[test]
fn the_table_has_both_ways_and_what_the_proxies_add() {
    let shell = beside_a_bench("");
    let pid = std::process::id().to_string();
    let flags = ["run", "--via", VIA, "--compare", "direct", "--direct", DIRECT, "--rate", "2000"];
    let more = ["--for", "60s", "--save", "a.json", "--header", "x: y", "--pid", &pid];

    let ran = run(&shell, &[&flags[..], &more].concat());

    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines = ran.stdout.lines().collect::<Vec<_>>();
    let head =
        "2000/s open loop, 60s, 120,000 calls, corrected for coordinated omission, loopback only";
    assert_eq!(lines[0], head);
    let words = |at: usize| lines[at].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(1)[..6], ["P50", "P90", "P99", "P99.9", "MAX", "ERRORS"]);
    assert_eq!(
        words(2),
        ["direct", "0.41ms", "0.62ms", "1.08ms", "2.90ms", "11.0ms", "0", "-", "-"]
    );
    assert_eq!(words(3)[..4], ["via", "proxies", "0.63ms", "0.62ms"]);
    assert!(lines[3].ends_with("MiB") && lines[3].contains(" core "), "{}", lines[3]);
    assert_eq!(words(4)[..3], ["added", "+0.22ms", "+0.00ms"]);
    assert_eq!(ran.stderr, "Saved a.json; compare: cellwall load report a.json LATER.json\n");
    let asked = fs::read_to_string(shell.path("asked")).unwrap();
    let call = "--call GET / --rate 2000 --duration 60s --connections 8 --header x: y";
    assert_eq!(asked, format!("load --target {DIRECT} {call}\nload --target {VIA} {call}\n"));
}

#[test]
fn workloads_are_asked_for_at_the_control_plane_and_never_guessed() {
    let shell = beside_a_bench("");
    let proxy = |workload: &str| {
        json!({
            "instance": "a", "spiffe_id": "spiffe://pay.example/prod/x", "workload": workload,
            "environment": "prod", "software": "0.1.0", "policy_version": 42, "sync": "synced",
            "reason": null, "connected_at": "2020-01-01T00:00:00Z", "addresses": [],
            "svid_not_after": "2020-01-01T00:00:00Z",
        })
    };
    let fleet = json!({"proxies": [proxy("checkout"), proxy("payments")]});
    let server = scripted(&shell, vec![(200, fleet.clone()), (200, fleet)]);

    let flags = ["run", "--via", VIA, "--save", "a.json", "--from", "prod/checkout", "--to"];
    let known = run(&shell, &[&flags[..], &["payments"]].concat());
    let unknown = run(&shell, &[&flags[..], &["stg/payments"]].concat());

    assert!(known.stdout.contains("; prod/checkout > payments, policy v42\n"), "{}", known.stdout);
    assert_eq!((known.code, unknown.code), (0, 1));
    assert_eq!(unknown.stderr, "error: no sidecar of stg/payments is connected to cellwalld\n");
    assert_eq!(server.join().unwrap()[0].line, "GET /v1/proxies");
    // A workload's name is no address.
    let nowhere = run(&shell, &["run", "--from", "checkout", "--to", "payments"]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.stderr.contains("--via <IP:PORT>"), "{}", nowhere.stderr);
}

#[test]
fn another_machine_is_loaded_with_consent_only() {
    let shell = beside_a_bench("");
    for flags in [
        &["--via", "192.0.2.1:80"][..],
        &["--via", VIA, "--compare", "direct", "--direct", "192.0.2.1:80"],
    ] {
        let ran = run(&shell, &[&["run"], flags].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("--beyond-loopback"), "{}", ran.stderr);
        assert!(!shell.path("asked").exists());
    }

    let ran = run(&shell, &["run", "--via", "192.0.2.1:80", "--beyond-loopback", "--save", "a"]);

    assert!(ran.stdout.contains("coordinated omission, beyond loopback"), "{}", ran.stdout);
    let asked = fs::read_to_string(shell.path("asked")).unwrap();
    assert!(asked.ends_with("--connections 8 --beyond-loopback\n"), "{asked}");
}

#[test]
fn without_the_program_it_is_named() {
    let ran = run(&alone(), &["run", "--via", VIA]);
    assert_eq!(ran.code, 1);
    let expected = "error: cellwall-bench is neither beside this program nor in PATH\n";
    assert_eq!(ran.stderr, expected);
}

#[test]
fn two_results_are_compared_and_other_loads_are_told() {
    let shell = beside_a_bench("\"status_403\":3");
    let first = run(&shell, &["run", "--via", DIRECT, "--save", "a.json", "--rate", "7"]);
    run(&shell, &["run", "--via", VIA, "--save", "b.json"]);
    // Calls failed.
    assert_eq!(first.code, 3);

    let ran = run(&shell, &["report", "a.json", "b.json"]);
    let document = run(&shell, &["report", "a.json", "b.json", "-o", "json"]).json();

    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("These were different loads"), "{}", ran.stdout);
    let change = ran.stdout.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(change[..3], ["change", "+0.22ms", "+0.00ms"]);
    assert_eq!(
        (&document["change_us"]["p50"], &document["same_load"]),
        (&json!(220), &json!(false))
    );
    let one = run(&shell, &["report", "a.json"]);
    assert_eq!((one.code, one.stdout), (0, first.stdout));
    fs::write(shell.path("c.json"), "{}").unwrap();
    let broken = run(&shell, &["report", "c.json"]);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.starts_with("error: c.json: no result of a load"), "{}", broken.stderr);
}
