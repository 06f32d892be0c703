use super::{Odd, count, scan};
use crate::commands::reach::replay::tally::{Tallies, What};

fn scanned(line: &str) -> Result<Vec<String>, Odd> {
    let mut seen = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    scan(line.as_bytes(), |key, value| seen.push(format!("{}={}", text(key), text(value))))?;
    Ok(seen)
}

#[test]
fn a_flat_object_is_scanned_and_all_else_is_left_to_a_whole_parser() {
    let pairs = |pairs: &[&str]| Ok(pairs.iter().map(|it| it.to_string()).collect());
    for (line, expected) in [
        (r#"{"a":"b"}"#, pairs(&["a=b"])),
        (r#" { "a" : "b" , "c" : -1.5e3 } "#, pairs(&["a=b", "c=-1.5e3"])),
        (r#"{"a":null,"b":true,"c":0}"#, pairs(&["c=0"])),
        (r#"{"a":"b\"c"}"#, Err(Odd::Escaped)),
        (r#"{"a":{"b":1}}"#, Err(Odd::Escaped)),
        (r#"{"a":"b""#, Err(Odd::Broken)),
        (r#"{"a":"b"} x"#, Err(Odd::Broken)),
        (r#"{"a":nope}"#, Err(Odd::Broken)),
        (r#"{"a"}"#, Err(Odd::Broken)),
        ("", Err(Odd::Broken)),
        ("text", Err(Odd::Broken)),
    ] {
        assert_eq!(scanned(line), expected, "{line}");
    }
}

/// A line as a sidecar writes it.
fn line(extra: &str) -> String {
    format!(
        r#"{{"ts":"2026-03-02T10:14:07.218431Z","level":"info","kind":"call","cellwall.direction":"inbound","cellwall.verdict":"allow","cellwall.by":"r","cellwall.caller.id":"spiffe://pay.example/prod/a","cellwall.callee.id":"spiffe://pay.example/prod/b",{extra}"duration_s":0.1,"upstream_s":null}}"#
    )
}

fn counted(lines: &[String]) -> (Tallies, Vec<String>) {
    let mut tallies = Tallies::default();
    let read = |line: &String| match count(line.as_bytes(), &mut tallies) {
        Ok(()) => "counted".to_owned(),
        Err(reason) => reason.to_owned(),
    };
    let results = lines.iter().map(read).collect();
    (tallies, results)
}

#[test]
fn lines_of_a_sidecar_are_counted_by_caller_callee_and_call() {
    let http = line(r#""http.request.method":"GET","http.route":"/v1/{id}","#);
    let later = http.replace("10:14:07.218431Z", "10:14:09Z");
    let escaped = http.replace("\"kind\":\"call\"", "\"kind\":\"c\\u0061ll\"");
    let (tallies, results) = counted(&[http, later, escaped]);
    let kinds: Vec<_> =
        tallies.each().iter().map(|it| (it.entry.call.clone(), it.count, it.last())).collect();
    let other = tallies.other;
    let call = What::Http { method: "GET".to_owned(), route: Some("/v1/{id}".to_owned()) };
    assert_eq!(kinds, [(call, 3, "2026-03-02T10:14:09Z".to_owned())]);
    assert_eq!((other, results), (0, vec!["counted".to_owned(); 3]));
}

#[test]
fn each_protocol_is_known_by_its_fields() {
    let (tallies, _) = counted(&[
        line(
            r#""rpc.system.name":"grpc","rpc.method":"a.A/Get","http.request.method":"POST","http.route":"a.A/*","#,
        ),
        line(r#""http.request.method":"GET","http.route":null,"#),
        line(r#""http.route":"tcp:5432","#),
        line(r#""http.route":null,"#),
    ]);
    let mut calls: Vec<_> = tallies.each().iter().map(|it| it.entry.call.text()).collect();
    calls.sort();
    assert_eq!(calls, ["GET (no template)", "a.A/Get", "tcp", "tcp:5432"]);
}

#[test]
fn outbound_and_undecided_lines_are_no_calls_and_broken_ones_are_named() {
    let good = line("");
    let (tallies, results) = counted(&[
        good.replace("inbound", "outbound"),
        good.replace("\"allow\"", "null"),
        good.replace("\"allow\"", "\"maybe\""),
        good.replace("2026-03-02T10:14:07.218431Z", "yesterday"),
        good.replace("\"cellwall.callee.id\":\"spiffe://pay.example/prod/b\",", ""),
        "{\"half".to_owned(),
    ]);
    assert_eq!((tallies.each().len(), tallies.other), (0, 2));
    assert_eq!(
        results,
        [
            "counted",
            "counted",
            "the verdict is not allow, deny or audit",
            "the time is not RFC 3339",
            "no callee",
            "not a JSON object",
        ]
    );
}
