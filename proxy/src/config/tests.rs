use std::{fs, os::unix::fs::PermissionsExt as _};

use clap::Parser as _;

use super::{Config, OutboundConfig, check_endpoint, parse_inbound, parse_outbound};
use crate::{
    Places,
    args::{Cli, Command},
};

fn config(flags: &[&str]) -> String {
    mistakes(&[&["--workload-api=unix:/s"], flags].concat())
}

fn mistakes(flags: &[&str]) -> String {
    let args = ["cellwall-proxy", "run"];
    let Command::Run(args) = Cli::try_parse_from(args.iter().chain(flags)).unwrap().command;
    Config::try_from(args).unwrap_err().to_string()
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let mistakes = config(&[
        "--inbound=0.0.0.0:8443",
        "--outbound=x=payments",
        "--outbound=1=",
        "--outbound=9001=ledger@nowhere",
        "--policy-key=/does/not/exist.pem",
        "--spiffe-id=https://pay.example/x",
        "--admin=0.0.0.0:1",
        "--max-connections=0",
    ]);
    let lines: Vec<_> = mistakes.lines().collect();
    assert_eq!(lines.len(), 7, "{mistakes}");
    assert_eq!(lines[0], "--inbound 0.0.0.0:8443: not [PORT@]LISTEN=WORKLOAD, the two IP:PORT");
    assert!(lines[4].starts_with("--policy-key /does/not/exist.pem: "), "{mistakes}");
    assert_eq!(lines[6], "--admin 0.0.0.0:1: loopback only (OBS-09)");
}

#[test]
fn spans_go_to_a_collector_on_this_host_alone() {
    let traces = |flags: &[&str]| {
        let text =
            config(&[&["--inbound=0.0.0.0:1=127.0.0.1:2", "--policy-key=x"], flags].concat());
        let lines = text.lines().filter(|line| !line.starts_with("--policy-key"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for url in [
        "http://10.0.0.1:4317",
        "http://localhost:4317",
        "https://127.0.0.1:4317",
        "http://127.0.0.1",
        "http://127.0.0.1:4317/v1/traces",
        "127.0.0.1:4317",
        "",
    ] {
        let mistake = format!("--otlp {url}: not http://IP:PORT on loopback");
        assert_eq!(traces(&[&format!("--otlp={url}")]), [mistake]);
    }
    for url in ["--otlp=http://127.0.0.1:4317", "--otlp=http://[::1]:4317"] {
        for ratio in ["0", "0.001", "1"] {
            assert_eq!(traces(&[url, &format!("--trace-ratio={ratio}")]), [""; 0]);
        }
        for ratio in ["-0.1", "1.1", "NaN", "inf"] {
            let mistake = format!("--trace-ratio {ratio}: not from 0 to 1");
            assert_eq!(traces(&[url, &format!("--trace-ratio={ratio}")]), [mistake]);
        }
    }
}

#[test]
fn a_workload_that_others_can_reach_is_refused() {
    // CAP-02
    assert!(parse_inbound("0.0.0.0:1=127.0.0.1:2").is_ok());
    assert!(parse_inbound("0.0.0.0:1=[::1]:2").is_ok());
    assert!(parse_inbound("0.0.0.0:1=10.0.0.1:2").unwrap_err().contains("loopback"));
}

#[test]
fn several_listeners_are_told_apart_by_their_declared_ports() {
    let twice = "--inbound: each of several needs a PORT@ of its own";
    let first = "--inbound=8443@0.0.0.0:1=127.0.0.1:2";
    for second in ["0.0.0.0:3=127.0.0.1:4", "8443@0.0.0.0:3=127.0.0.1:4"] {
        let mistakes = config(&[first, &format!("--inbound={second}"), "--policy-key=x"]);
        assert!(mistakes.contains(twice), "{mistakes}");
    }
    let mistakes = config(&[first, "--inbound=5432@0.0.0.0:3=127.0.0.1:4", "--policy-key=x"]);
    assert!(!mistakes.contains("--inbound"), "{mistakes}");
    for port in ["0", "65536", "", "x", "+1"] {
        assert!(parse_inbound(&format!("{port}@0.0.0.0:1=127.0.0.1:2")).is_err(), "{port}");
    }
    let advertised = "--advertise: once for each --inbound, or not at all";
    let mistakes = config(&[
        first,
        "--inbound=5432@0.0.0.0:3=127.0.0.1:4",
        "--advertise=10.0.0.1:1",
        "--policy-key=x",
    ]);
    assert!(mistakes.contains(advertised), "{mistakes}");
    let mistakes = config(&[first, "--probes=1@0.0.0.0:1=127.0.0.1:2", "--policy-key=x"]);
    assert!(
        mistakes.contains("--probes 1@0.0.0.0:1=127.0.0.1:2: not LISTEN=WORKLOAD"),
        "{mistakes}"
    );
}

#[test]
fn an_outbound_names_a_port_a_workload_and_maybe_addresses() {
    let list = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
    let both = ["127.0.0.1:1", "[::1]:2"];
    let parsed = |port, destination: &str, places: Option<[&[_]; 2]>| OutboundConfig {
        port,
        destination: destination.to_owned(),
        places: places
            .map(|[all, streams]| Places { addresses: list(all), streams: list(streams) }),
    };
    assert_eq!(parse_outbound("9001=ledger"), Ok(parsed(9001, "ledger", None)));
    assert_eq!(parse_outbound("0=prod/ledger"), Ok(parsed(0, "prod/ledger", None)));
    assert_eq!(parse_outbound("0=prod/ledger:9443"), Ok(parsed(0, "prod/ledger:9443", None)));
    assert_eq!(
        parse_outbound("9001=ledger@127.0.0.1:1,[::1]:2"),
        Ok(parsed(9001, "ledger", Some([&both[..], &[]])))
    );
    assert_eq!(
        parse_outbound("9001=ledger@127.0.0.1:1,streams:[::1]:2"),
        Ok(parsed(9001, "ledger", Some([&both[..], &both[1..]])))
    );
    for mistake in [
        "9001",
        "9001=",
        "70000=a",
        "9001=a b",
        "9001=a@",
        "9001=/a",
        "9001=a/",
        "9001=a@streams:",
        "9001=a@stream:127.0.0.1:1",
    ] {
        assert!(parse_outbound(mistake).is_err(), "{mistake}");
    }
}

#[test]
fn the_same_destination_twice_is_a_mistake() {
    let mistakes = config(&["--inbound=x", "--policy-key=x", "--outbound=1=a", "--outbound=2=a"]);
    assert!(mistakes.contains("--outbound: `a` is there twice"), "{mistakes}");
}

#[test]
fn a_policy_key_that_others_may_change_is_refused_with_the_fix() {
    // SEC-02: whoever replaces it makes our policies
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy-key.pem");
    fs::write(&path, "no key").unwrap();
    let said = |mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        config(&["--inbound=0.0.0.0:1=127.0.0.1:2", &format!("--policy-key={}", path.display())])
    };
    let path = path.display();
    for mode in [0o664, 0o646] {
        let expected = format!(
            "--policy-key {path}: others may change it (mode {mode:04o}); run: chmod go-w {path}"
        );
        assert_eq!(said(mode), expected);
    }
    assert!(!said(0o644).contains("others may change it"));
}

#[test]
fn a_workload_api_is_a_socket_or_an_address_and_nothing_else() {
    // WEP-07
    for right in ["unix:/run/a.sock", "unix:///run/a.sock", "tcp://127.0.0.1:80", "tcp://[::1]:80"]
    {
        assert_eq!(check_endpoint(right), Ok(()), "{right}");
    }
    let wrong = [
        "",
        "/run/a.sock",
        "unix:",
        "unix:a.sock",
        "unix://host/a",
        "unix:/a?q",
        "unix:/a#f",
        "unix://u@/a",
        "tcp://name:80",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:80/x",
        "tcp://u@127.0.0.1:80",
        "tcp://127.0.0.1:80?q",
        "http://127.0.0.1:80",
        "udp://127.0.0.1:80",
    ];
    for wrong in wrong {
        assert!(check_endpoint(wrong).is_err(), "{wrong}");
    }
    let said = mistakes(&["--inbound=x", "--policy-key=x", "--workload-api=unix:a.sock"]);
    assert!(said.lines().any(|line| line.starts_with("--workload-api unix:a.sock: ")), "{said}");
}
