//! Edges, plans, differences, reviews and exports, from files alone.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::run::{Ran, Shell};

/// The manual's example, whole.
fn example() -> Shell {
    let shell = Shell::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-language/tests/example");
    copy(&example, &shell.path("policy"));
    shell
}

/// The example as `old`, and as `policy` the change of the manual.
fn changed() -> Shell {
    let shell = example();
    copy(&shell.path("policy"), &shell.path("old"));
    let file = "segments/payments.yaml";
    shell.edit(file, "from: [fraud, payments]", "from: fraud");
    shell.edit(file, "mode: audit", "mode: enforce");
    let capture = "      - http: POST /v1/payments/{id}/capture\n";
    let refund = format!("{capture}      - http: POST /v1/payments/{{id}}/refund\n");
    shell.edit(file, capture, &refund);
    shell
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// An edge of a ledger.
struct Row {
    sides: (&'static str, &'static str),
    call: &'static str,
    verdict: &'static str,
    count: u64,
    last: &'static str,
}

/// Edges of a ledger: caller, callee, call, verdict, count, last.
const EDGES: &[Row] = &[
    Row {
        sides: ("payments", "ledger"),
        call: "ledger.v1.Ledger/GetEntry",
        verdict: "allow",
        count: 88_120,
        last: "2026-03-02T10:07:00",
    },
    Row {
        sides: ("checkout", "notifier"),
        call: "POST /v1/messages",
        verdict: "audit",
        count: 1_204,
        last: "2026-03-02T00:14:00",
    },
    Row {
        sides: ("checkout", "payments"),
        call: "POST /v1/payments/{id}/refund",
        verdict: "deny",
        count: 318,
        last: "2026-03-02T09:55:00",
    },
    Row {
        sides: ("checkout", "payments"),
        call: "POST /v1/payments",
        verdict: "allow",
        count: 45_923_130,
        last: "2026-03-02T10:14:00",
    },
    Row {
        sides: ("checkout", "payments"),
        call: "",
        verdict: "deny",
        count: 41,
        last: "2026-03-01T10:14:00",
    },
];

fn rows() -> Vec<Value> {
    let id = |name: &str| format!("spiffe://pay.example/prod/{name}");
    EDGES
        .iter()
        .map(|Row { sides: (caller, callee), call, verdict, count, last }| {
            json!({
                "caller": id(caller),
                "callee": id(callee),
                "call": (!call.is_empty()).then_some(call),
                "verdict": verdict,
                "count": count,
                "last_at": format!("{last}.000Z"),
            })
        })
        .collect()
}

/// Writes the edges as JSON lines.
fn ledger(shell: &Shell) {
    let lines: Vec<_> = rows().iter().map(Value::to_string).collect();
    fs::write(shell.path("edges.jsonl"), format!("{}\n", lines.join("\n"))).unwrap();
}

fn plan(shell: &Shell, more: &[&str]) -> Ran {
    shell.run(&[&["policy", "plan", "--against", "old"], more].concat())
}

#[test]
fn edges_are_a_table_of_who_may_call_whom() {
    let shell = example();
    let ran = shell.run(&["policy", "edges"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, include_str!("golden/edges.txt"));
    let ran = shell.run(&["policy", "edges", "--to", "ledger-db", "--env", "prod"]);
    let expected = "prod\nCALLER  CALLEE     CALL      VERDICT  BY\n\
                    ledger  ledger-db  tcp:5432  allow    ledger-stores\n";
    assert_eq!(ran.stdout, expected);
    let ran = shell.run(&["policy", "edges", "--from", "nobody"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "error: there is no workload `nobody`\n"));
}

#[test]
fn edges_are_written_for_programs_spreadsheets_and_graphviz() {
    let shell = example();
    let edges = |format: &str| shell.run(&["policy", "edges", "-o", format]).stdout;
    let document: Value = serde_json::from_str(&edges("json")).unwrap();
    assert_eq!(document["schema_version"], 1);
    let grant = document["edges"].as_array().unwrap().iter();
    let grant: Vec<_> = grant.filter(|edge| edge["by"] == "grant/INC-4821").collect();
    assert_eq!(grant.len(), 1);
    assert_eq!(
        (&grant[0]["starts"], &grant[0]["expires"]),
        (&json!(1_772_445_600), &json!(1_772_460_000))
    );
    let csv = edges("csv");
    let expected = "caller,callee,call,verdict,by,when,starts,expires,environments,across\n\
                    checkout,card-vault,POST /v1/tokens,allow,checkout-tokenises,,,,prod;staging;any other,\n";
    assert!(csv.starts_with(expected), "{csv}");
    assert!(csv.contains("any but fraud;ledger;payments,notifier,"), "{csv}");
    let dot = edges("dot");
    assert!(dot.contains("label=\"comms (audit)\";\n    style=dashed;"), "{dot}");
    assert!(
        dot.contains("\"any\" -> \"notifier\" [label=\"any other call\", style=dashed];"),
        "{dot}"
    );
}

#[test]
fn the_picture_needs_nothing_from_elsewhere() {
    let shell = example();
    let svg = shell.run(&["policy", "edges", "-o", "svg"]).stdout;
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{svg}");
    assert!(svg.ends_with("</svg>\n"), "{svg}");
    for outside in ["href", "url(h", "<script", "<image", "<style", "@import", "<foreignObject"] {
        assert!(!svg.contains(outside), "{outside}: {svg}");
    }
    for name in
        ["checkout", "ledger-db", "any but fraud, ledger, payments", "segment comms (audit)"]
    {
        assert!(svg.contains(&format!(">{name}<")), "{name}: {svg}");
    }
    assert_eq!(svg.matches("<g").count(), svg.matches("</g").count());
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
}

#[test]
fn a_plan_says_what_opens_closes_and_would_be_denied() {
    let shell = changed();
    ledger(&shell);
    let ran = plan(&shell, &["--replay", "edges.jsonl"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    assert_eq!(ran.stdout, include_str!("golden/plan.txt"));
    let ran = plan(&shell, &["--replay", "edges.jsonl", "-o", "md"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, include_str!("golden/plan.md")));
    let ran = plan(&shell, &["-o", "dot"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, include_str!("golden/plan.dot")));
    let ran = plan(&shell, &["--replay", "edges.jsonl", "-o", "json"]);
    let golden: Value = serde_json::from_str(include_str!("golden/plan.json")).unwrap();
    assert_eq!((ran.code, ran.json()), (3, golden));
}

#[test]
fn every_form_of_recorded_calls_says_the_same() {
    let shell = changed();
    ledger(&shell);
    let replayed = |file: &str| {
        let ran = plan(&shell, &["--replay", file, "-o", "json"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.json()["replay"].clone()
    };
    let expected = replayed("edges.jsonl");
    assert_eq!(expected["calls"], 46_012_813);
    let document = json!({"schema_version": 1, "edges": rows()});
    fs::write(shell.path("edges.json"), document.to_string()).unwrap();
    assert_eq!(replayed("edges.json"), expected);
    fs::write(shell.path("pretty.json"), serde_json::to_string_pretty(&document).unwrap()).unwrap();
    assert_eq!(replayed("pretty.json"), expected);
    let mut csv = "caller,callee,call,verdict,count,last\r\n".to_owned();
    for row in rows() {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let (caller, callee, call) = (text("caller"), text("callee"), text("call"));
        let (verdict, count, last) = (text("verdict"), &row["count"], text("last_at"));
        csv.push_str(&format!("{caller},{callee},\"{call}\",{verdict},{count},{last}\r\n"));
    }
    fs::write(shell.path("edges.csv"), csv).unwrap();
    assert_eq!(replayed("edges.csv"), expected);
}

/// A line of a sidecar's access log.
fn line(caller: &str, callee: &str, more: &str) -> String {
    format!(
        r#"{{"ts":"2026-03-02T10:14:07.218431Z","level":"info","kind":"call","cellwall.direction":"inbound","cellwall.verdict":"allow","cellwall.by":"x","cellwall.caller.id":"spiffe://pay.example/prod/{caller}","cellwall.callee.id":"spiffe://pay.example/prod/{callee}",{more},"duration_s":0.001}}"#
    )
}

#[test]
fn lines_of_an_access_log_are_counted_and_unreadable_ones_are_named() {
    let shell = changed();
    let call = line("payments", "ledger", r#""rpc.method":"ledger.v1.Ledger/GetEntry""#);
    let lines = [
        call.clone(),
        call.clone(),
        call.replace("inbound", "outbound"),
        "{\"half".to_owned(),
        line("ledger", "ledger-db", r#""http.route":"tcp:5432""#),
    ];
    fs::write(shell.path("access.log"), lines.join("\n")).unwrap();
    let ran = plan(&shell, &["--replay", "access.log", "-o", "json"]);
    let replay = &ran.json()["replay"];
    assert_eq!(
        replay["denied"],
        json!([{
            "caller": "prod/payments",
            "callee": "prod/ledger",
            "call": "ledger.v1.Ledger/GetEntry",
            "calls": 2,
            "last": "2026-03-02T10:14:07Z",
            "was": "allow",
            "was_by": "history-readers",
            "now": "deny",
            "now_by": "default",
        }])
    );
    assert_eq!((&replay["calls"], &replay["other_lines"]), (&json!(3), &json!(1)));
    assert_eq!(replay["unreadable"], json!(["access.log:4 (not a JSON object)"]));
    assert_eq!(replay["unreadable_lines"], 1);
}

#[test]
fn the_exit_code_tells_changes_only_when_asked() {
    let shell = changed();
    assert_eq!(shell.run(&["policy", "plan", "old", "--against", "old"]).code, 0);
    let same = shell.run(&["policy", "plan", "old", "--against", "old", "--detailed-exitcode"]);
    assert_eq!(same.code, 0);
    assert!(same.stdout.contains("\n  no change in who may call whom\n"), "{}", same.stdout);
    // A failing test blocks, whatever else is asked for.
    assert_eq!(plan(&shell, &["--detailed-exitcode"]).code, 3);
    let expect = "expect: audit\n    call: prod/checkout -> prod/notifier";
    shell.edit("segments/payments.yaml", expect, &expect.replace("audit", "deny"));
    assert_eq!(plan(&shell, &[]).code, 0);
    assert_eq!(plan(&shell, &["--detailed-exitcode"]).code, 6);
    shell.edit("segments/payments.yaml", "from: checkout", "from: checkot");
    let broken = plan(&shell, &["--detailed-exitcode"]);
    assert_eq!(broken.code, 3);
    assert!(
        broken.stdout.contains("error[CW0104]: unknown workload `checkot`"),
        "{}",
        broken.stdout
    );
}

#[test]
fn a_form_that_a_command_does_not_print_is_wrong_usage() {
    let shell = example();
    let ran = shell.run(&["policy", "plan", "--against", "policy", "-o", "svg"]);
    let message = "error: this command prints table, json, md, dot\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (2, "", message));
    let ran = shell.run(&["policy", "validate", "-o", "svg"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (2, "error: this command prints table, json, github\n")
    );
}

#[test]
fn a_plan_can_be_narrowed_to_two_workloads() {
    let shell = changed();
    let ran = plan(&shell, &["--edge", "checkout:payments", "-o", "json"]);
    let document = ran.json();
    let changes = document["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0]["call"], "POST /v1/payments/{id}/refund");
}

#[test]
fn a_difference_shows_edges_and_then_text() {
    let shell = changed();
    let ran = shell.run(&["policy", "diff", "old", "policy", "--text"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let (edges, text) = ran.stdout.split_once("\n\n--- old/segments/payments.yaml\n").unwrap();
    assert!(edges.ends_with("\n1 edge opens, 2 close, 1 mode change"), "{edges}");
    assert!(text.contains("\n-    from: [fraud, payments]\n+    from: fraud\n"), "{text}");
}

#[test]
fn a_review_says_what_each_statement_opens_and_moves_only_the_date() {
    let shell = example();
    let ran = shell.run(&["policy", "review", "policy/segments/payments.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let expected = "  rule ledger-stores  :";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    assert!(ran.stdout.contains("    opens ledger -> ledger-db tcp:5432\n"), "{}", ran.stdout);
    let test = "    test  allow prod/ledger -> prod/ledger-db tcp:5432\n";
    assert!(ran.stdout.contains(test), "{}", ran.stdout);
    let path = shell.path("policy/segments/payments.yaml");
    let before = fs::read_to_string(&path).unwrap();
    let ran = shell.run(&["policy", "review", "--bump", "2031-02-28"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "1 review date now 2031-02-28\n"));
    let after = fs::read_to_string(&path).unwrap();
    assert_eq!(after, before.replace("review_by: 2026-09-01", "review_by: 2031-02-28"));
    assert_ne!(after, before);
    for wrong in ["2001-01-01", "soon", "2031-02-30"] {
        let ran = shell.run(&["policy", "review", "--bump", wrong]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{wrong}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), after);
}

#[test]
fn an_export_is_whole_in_each_form() {
    let shell = example();
    let export = |format: &str| shell.run(&["policy", "export", "--format", format]);
    let cedar = export("cedar").json();
    let policies = cedar["policies"].as_str().unwrap();
    assert!(policies.contains("// Not expressible: `mode: audit`."), "{policies}");
    for (effect, count) in [("\npermit(", 9), ("\nforbid(", 2)] {
        assert_eq!(policies.matches(effect).count(), count, "{policies}");
    }
    let compiled = export("json").json();
    let callees: Vec<_> =
        compiled.as_array().unwrap().iter().map(|it| it["callee"].clone()).collect();
    assert_eq!(callees.len(), 14);
    assert_eq!(callees[0], "spiffe://pay.example/prod/checkout");
    assert!(export("dot").stdout.starts_with("digraph policy {"));
}
