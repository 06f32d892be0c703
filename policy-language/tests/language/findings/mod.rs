//! Every code, with the line and columns that it points to.

mod calls;
mod conditions;
mod governance;
mod introduction;
mod logic;
mod names;
mod syntax;

use std::{collections::BTreeSet, fmt::Write};

use cellwall_policy_language::{CODE_PAGES, Paint, Sources, check};
use proptest::prelude::*;

use crate::sample::{BASE, bent, checked, lines, set};

/// A change to the base policy, and what is then found.
pub(crate) struct Case {
    from: &'static str,
    to: &'static str,
    /// `CODE line:column-end message`.
    findings: &'static [&'static str],
}

fn all() -> impl Iterator<Item = &'static Case> {
    let words = [syntax::CASES, names::CASES, introduction::CASES, calls::CASES];
    let sense = [conditions::CASES, logic::CASES, governance::CASES];
    words.into_iter().chain(sense).flatten()
}

#[test]
fn the_base_policy_has_no_findings() {
    assert_eq!(set(BASE).run_tests().failed(), 0);
}

#[test]
fn each_mistake_is_found_with_its_code_and_place() {
    let mut wrong = String::new();
    for case in all() {
        let found = lines(&checked(&bent(case.from, case.to)));
        if found != case.findings {
            let _ = writeln!(
                wrong,
                "{:?}\n  found    {found:?}\n  expected {:?}",
                case.to, case.findings
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_code_is_found_somewhere() {
    let mut found: BTreeSet<String> = all()
        .flat_map(|case| checked(&bent(case.from, case.to)).findings.0)
        .map(|finding| finding.code)
        .collect();
    // These have tests of their own: not_yet.rs, the limits below, segments, and due.rs.
    found.extend(["CW0006", "CW0010", "CW0304", "CW0402", "CW0405"].map(str::to_owned));
    let pages: BTreeSet<String> = CODE_PAGES.iter().map(|page| page.code.to_owned()).collect();
    assert_eq!(found, pages);
}

#[test]
fn a_test_fails_for_another_verdict_and_for_another_decider() {
    for (from, to) in [
        ("expect: allow", "expect: deny"),
        ("expect: allow", "expect: audit"),
        ("by: web-reads", "by: all-look"),
        ("by: web-reads", "by: default"),
    ] {
        let report = set(&bent(from, to)).run_tests();
        assert_eq!((report.passed(), report.failed()), (0, 1), "{to}");
        let result = &report.results[0];
        assert_eq!((result.verdict.as_str(), result.by.as_str()), ("allow", "web-reads"));
    }
}

#[test]
fn an_error_keeps_the_policy_from_being_used_and_a_warning_does_not() {
    let error = checked(&bent("    from: web", "    from: wbe"));
    assert_eq!((error.findings.errors(), error.set.is_some()), (1, false));
    let twice = "rules:\n  - {name: a, from: rpc, to: db, allow: [{tcp: 5432}], why: again}\n";
    let warning = checked(&bent("rules:\n", twice));
    assert_eq!(warning.findings.to_string(), "0 errors, 1 warning");
    assert_eq!(warning.set.map(|set| set.warnings().clone()), Some(warning.findings));
}

#[test]
fn a_selector_of_segments_without_members_is_an_error_wherever_it_stands() {
    let empty =
        "segments:\n  void: {members: [], mode: enforce}\n  hole: {members: [], mode: audit}";
    let empty = bent("segments:", empty);
    let never = "never:\n  - {name: n, from: segment/void, to: web, why: w}\n";
    let found = |from: &str, to: &str| {
        assert!(empty.contains(from), "{from}");
        lines(&checked(&empty.replacen(from, to, 1)))
    };
    let nobody = |place: &str, who: &str| vec![format!("CW0103 {place} nobody is in `{who}`")];
    for (from, to, expected) in [
        ("from: web", "from: segment/void", nobody("16:11-23", "segment/void")),
        (
            "from: web",
            "from: [segment/void, segment/hole]",
            nobody("16:11-12", "segment/void or segment/hole"),
        ),
        ("    to: db", "    to: segment/void", nobody("21:9-21", "segment/void")),
        ("any -> db", "segment/void -> db", nobody("32:11-23", "segment/void")),
        ("any -> db", "any -> segment/void", nobody("32:18-30", "segment/void")),
        ("except: [rpc]", "except: segment/void", nobody("33:13-25", "segment/void")),
        ("tests:", &format!("{never}tests:"), nobody("36:21-33", "segment/void")),
        // Somebody is enough.
        ("from: web", "from: [segment/void, web]", Vec::new()),
        ("except: [rpc]", "except: [segment/void, rpc]", Vec::new()),
        (
            "tests:",
            "never:\n  - {name: n, from: [segment/void, \"spiffe://b.example/x\"], to: db, why: w}\ntests:",
            Vec::new(),
        ),
    ] {
        assert_eq!(found(from, to), expected, "{to}");
    }
}

#[test]
fn mistakes_of_all_kinds_in_all_files_are_found_in_one_run() {
    let root = bent("identity:", "include: [more/*.yaml]\nidentity:")
        .replace("role: reader", "role: raeder")
        .replace("except: [rpc]", "except: [rpk]");
    let mut sources = Sources::single(root);
    let broken = "version: cellwall/v1\nrules: [".to_owned();
    let unknown = "version: cellwall/v1\nidentity: x\nwhen: y\nroles: {r: {to: nobody, can: []}}\n";
    sources.files.insert("more/a.yaml".to_owned(), broken);
    sources.files.insert("more/b.yaml".to_owned(), unknown.to_owned());
    sources.files.insert("stray.yaml".to_owned(), "version: cellwall/v1\n".to_owned());
    let found: Vec<_> = check(&sources)
        .findings
        .0
        .into_iter()
        .map(|it| format!("{} {}:{}", it.code, it.file, it.line))
        .collect();
    assert_eq!(
        found,
        [
            "CW0105 cellwall.yaml:16",
            "CW0104 cellwall.yaml:32",
            "CW0001 more/a.yaml:2",
            "CW0009 more/b.yaml:2",
            "CW0009 more/b.yaml:3",
            "CW0104 more/b.yaml:4",
            "CW0004 more/b.yaml:4",
            "CW0008 stray.yaml:1",
        ]
    );
}

#[test]
fn a_policy_beyond_the_limits_is_refused() {
    let long = format!("{BASE}# {}\n", "x".repeat(1024 * 1024));
    assert_eq!(lines(&checked(&long)), ["CW0010 1:1-2 longer than 1048576 bytes"]);
    let calls: String = (0..1025).map(|at| format!("      - http: GET /v2/{at}\n")).collect();
    let many = bent("      - http: GET /v1/things/{id}\n", &calls);
    let expected = "CW0010 4:3-6 rules declare more than 1024 path templates for `web`";
    assert_eq!(lines(&checked(&many)), [expected]);
    let deep = format!("version: {}1{}\n", "[".repeat(40), "]".repeat(40));
    assert_eq!(lines(&checked(&deep)), ["CW0001 1:41-42 nested too deeply"]);
}

#[test]
fn a_condition_at_its_limits_compiles() {
    // AZ-07: what is accepted here, every sidecar reads.
    let deep = format!("{}(tls.group == \"X25519\")", "!".repeat(31));
    let wide = vec!["tls.group!=\"X25519\""; 190].join("&&");
    let chained = format!("{}({})", "!".repeat(23), vec!["tls.group!=\"X25519\""; 128].join("||"));
    for when in [deep, wide, chained] {
        let text = bent("    from: web\n", &format!("    from: web\n    when: '{when}'\n"));
        assert_eq!(lines(&checked(&text)), Vec::<String>::new(), "{when}");
    }
}

#[test]
fn the_owner_of_a_file_is_that_of_its_statements_and_of_no_other_file() {
    let mut sources =
        Sources::single(bent("identity:", "include: [b.yaml, c.yaml]\nowner: team\nidentity:"));
    let rule = |name: &str| {
        format!(
            "rules:\n  - {{name: {name}, from: rpc, to: rpc, allow: [{{grpc: a.v1.A/Put}}], why: {name}}}\n"
        )
    };
    sources
        .files
        .insert("b.yaml".to_owned(), format!("version: cellwall/v1\nowner: other\n{}", rule("b")));
    let without = rule("c").replace("A/Put", "A/Post");
    sources.files.insert("c.yaml".to_owned(), format!("version: cellwall/v1\n{without}"));
    let found: Vec<_> = check(&sources)
        .findings
        .0
        .into_iter()
        .map(|it| format!("{} {}:{} {}", it.code, it.file, it.line, it.message))
        .collect();
    assert_eq!(found, ["CW0403 c.yaml:3 `c` has no owner"]);
}

#[test]
fn a_segment_that_nothing_leads_to_or_from_is_isolated() {
    let lonely = bent("    from: any\n", "    from: rpc\n").replace(
        "segments:\n",
        "  old: {listens: {http: 1}}\nsegments:\n  gone: {members: [old], mode: enforce}\n",
    );
    let expected = ["warning CW0304 9:3-7 segment `gone` is isolated"];
    assert_eq!(lines(&checked(&lonely)), expected);
    // Who is called by anybody, calls somebody, or lets everybody pass is not.
    for (from, to) in [
        (
            "    from: rpc\n    to: db\n    allow: [{tcp: 5432}]\n",
            "    from: [rpc, old]\n    to: db\n    allow: [{tcp: 5432}]\n",
        ),
        ("    from: rpc\n    to: web\n", "    from: rpc\n    to: [web, old]\n"),
        ("members: [old], mode: enforce", "members: [old], mode: audit"),
        ("    from: rpc\n    to: web\n", "    from: any\n    to: web\n"),
    ] {
        assert!(lonely.contains(from), "{from}");
        assert_eq!(lines(&checked(&lonely.replace(from, to))), Vec::<String>::new(), "{to}");
    }
}

#[test]
fn help_names_what_was_probably_meant() {
    for (from, to, help) in [
        ("    from: web", "    from: wbe", "did you mean `web`?"),
        ("    role: reader", "    role: raeder", "did you mean `reader`?"),
        ("    from: web", "    from: segment/frnt", "did you mean `segment/front`?"),
        ("    except: [rpc]", "    excpet: [rpc]", "did you mean `except`?"),
        ("by: web-reads", "by: web-raeds", "did you mean `web-reads`?"),
        ("{tcp: 5432}]", "{tcp: 5433}]", "use `tcp: 5432`"),
    ] {
        let findings = checked(&bent(from, to)).findings;
        assert_eq!(findings.0[0].help.as_deref(), Some(help), "{to}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_and_rendered_without_a_panic(
        at in 0..BASE.len(),
        cut in 0usize..12,
        text in "[a-z{}\\[\\]:,\"'#&*!|>%@\n\t ä\u{0}-]{0,8}",
    ) {
        // The base is ASCII.
        let (start, end) = (at, (at + cut).min(BASE.len()));
        let mut bent = BASE.to_owned();
        bent.replace_range(start..end, &text);
        let sources = Sources::single(bent);
        let checked = check(&sources);
        prop_assert!(checked.set.is_some() || checked.findings.errors() > 0);
        checked.findings.render(&sources, Paint::Plain);
        let _ = checked.set.map(|set| set.run_tests());
    }
}
