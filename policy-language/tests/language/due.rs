//! Days that have come.

use std::time::SystemTime;

use cellwall_policy_language::{Findings, PolicySet, Sources, load, parse_instant};

use crate::sample::bent;

const GRANT: &str = "grants:
  - name: INC-1
    from: rpc
    role: reader
    starts: 2026-03-02T10:00:00Z
    expires: 2026-03-02T14:00:00Z
    why: an incident
    approved_by: [a@pay.example, b@pay.example]
    review_by: 2026-04-01
guards:
";

fn at(text: &str) -> SystemTime {
    parse_instant(text).unwrap()
}

fn reviewed() -> PolicySet {
    let text = bent("identity:", "owner: team\nreview_by: 2026-02-18\nidentity:")
        .replace("guards:\n", GRANT)
        .replace("    why: data stays", "    review_by: 2026-06-30\n    why: data stays");
    load(&Sources::single(text)).unwrap()
}

/// `CODE line:column-end message, label`.
fn lines(findings: &Findings) -> Vec<String> {
    let line = |it: &cellwall_policy_language::Finding| {
        format!("{} {}:{}-{} {}, {}", it.code, it.line, it.column, it.end, it.message, it.label)
    };
    findings.0.iter().map(line).collect()
}

#[test]
fn a_day_of_review_counts_to_its_end() {
    let set = reviewed();
    for (now, expected) in [
        ("2026-02-18T23:59:59Z", vec![]),
        ("2026-02-19T00:00:00Z", vec!["1 day"]),
        ("2026-02-19T23:59:59Z", vec!["1 day"]),
        ("2026-03-02T10:00:00Z", vec!["12 days"]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|ago| {
                format!("CW0402 3:12-22 `review_by` passed {ago} ago, 3 rules inherit this date")
            })
            .collect();
        assert_eq!(lines(&set.due(at(now))), expected, "{now}");
    }
}

#[test]
fn a_statement_is_reviewed_by_its_own_day() {
    assert_eq!(
        lines(&reviewed().due(at("2026-07-01T00:00:00Z"))),
        [
            "CW0402 3:12-22 `review_by` passed 133 days ago, 3 rules inherit this date",
            "CW0405 35:14-34 grant `INC-1` has been over for 120 days, it allows nothing any more",
            "CW0402 38:16-26 `review_by` passed 91 days ago, 1 grant has this date",
            "CW0402 43:16-26 `review_by` passed 1 day ago, 1 guard has this date",
        ]
    );
}

#[test]
fn a_grant_is_over_at_the_second_at_which_it_expires() {
    let set = reviewed();
    let over = |now: &str| {
        let due = set.due(at(now));
        due.0.iter().filter(|it| it.code == "CW0405").map(|it| it.message.clone()).collect()
    };
    let none: Vec<String> = over("2026-03-02T13:59:59Z");
    assert_eq!(none, Vec::<String>::new());
    let now: Vec<String> = over("2026-03-02T14:00:00Z");
    assert_eq!(now, ["grant `INC-1` has been over for 0 minutes"]);
    let soon: Vec<String> = over("2026-03-02T14:30:59Z");
    assert_eq!(soon, ["grant `INC-1` has been over for 30 minutes"]);
    let later: Vec<String> = over("2026-03-02T16:30:00Z");
    assert_eq!(later, ["grant `INC-1` has been over for 2 hours"]);
    // One that begins later is no finding.
    assert_eq!(lines(&set.due(SystemTime::UNIX_EPOCH)), Vec::<String>::new());
}

#[test]
fn what_is_due_is_a_warning_and_the_documents_load_all_the_same() {
    let set = reviewed();
    let due = set.due(at("2030-01-01T00:00:00Z"));
    assert_eq!((due.errors(), due.warnings()), (0, 4));
    assert_eq!(set.warnings().0, []);
    let help = "`cellwall policy review cellwall.yaml` prints what to look at and bumps the date";
    assert_eq!(due.0[0].help.as_deref(), Some(help));
}
