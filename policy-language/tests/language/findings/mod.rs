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
fn an_upgrade_of_a_callee_that_speaks_only_http_2_is_found() {
    let asks = bent("http: GET /v1/things/{id}", "{http: GET /v1/things, upgrade: websocket}");
    let told = "CW0210 `upgrade` of a callee that speaks HTTP/2".to_owned();
    for (listens, expected) in [
        ("{http2: 8443}", vec![told.clone()]),
        ("[{tcp: 1}, {http2: 8443}]", vec![told]),
        ("[{http2: 8443}, {http: 8080}]", Vec::new()),
    ] {
        let findings = checked(&asks.replacen("{http: 8443}", listens, 1)).findings.0;
        let found: Vec<_> =
            findings.iter().map(|it| format!("{} {}", it.code, it.message)).collect();
        assert_eq!(found, expected, "{listens}");
    }
}

/// Rules that no test is allowed by, and rules without a test beside them that is denied.
fn untested(tests: &[&str]) -> (Vec<String>, Vec<String>) {
    let grant = "grants:\n  - name: INC-1\n    from: db\n    to: web\n    allow: [{http: \"GET \
                 /v1/things/{id}\"}]\n    starts: 2026-03-02T10:00:00Z\n    expires: \
                 2026-03-02T14:00:00Z\n    why: w\n    approved_by: [a@x, b@x]\nguards:\n";
    let bent = bent("guards:\n", grant).replace("    from: any\n", "    from: rpc\n");
    let (head, _) = bent.split_once("tests:\n").unwrap();
    let tests: String = tests.iter().map(|test| format!("  - {{{test}}}\n")).collect();
    let report = set(&format!("{head}tests:\n{tests}")).run_tests();
    assert_eq!((report.failed(), report.rules), (0, 3), "{tests}");
    (report.untested_rules, report.unbounded_rules)
}

#[test]
fn a_rule_is_tested_by_who_it_allows_and_by_a_denied_neighbour() {
    let all = ["web-reads", "rpc-stores", "all-look"];
    for (test, tested, bounded) in [
        ("expect: allow, call: p/web -> p/rpc a.v1.A/Get", vec!["web-reads"], vec![]),
        // The callee is in `audit`: not allowed, by its caller or its call.
        ("expect: audit, call: p/web -> p/rpc a.v1.A/Put", vec![], vec!["web-reads"]),
        ("expect: audit, call: p/db -> p/rpc a.v1.A/Get", vec![], vec!["web-reads"]),
        ("expect: audit, call: p/db -> p/rpc a.v1.A/Put", vec![], vec![]),
        ("expect: deny, call: p/web -> p/db tcp:5432", vec![], vec!["rpc-stores"]),
        ("expect: deny, call: p/rpc -> p/web POST /v1/things/x", vec![], vec!["all-look"]),
        ("expect: deny, call: p/db -> p/web GET /v1/things/x", vec![], vec!["all-look"]),
        ("expect: deny, call: p/db -> p/web GET /v2", vec![], vec![]),
        ("expect: deny, call: p/db -> p/web POST /v1/things/x", vec![], vec![]),
        // A grant allows: neither.
        (
            "expect: allow, call: p/db -> p/web GET /v1/things/x, at: 2026-03-02T11:00:00Z",
            vec![],
            vec![],
        ),
    ] {
        let missing = |known: &[&str]| -> Vec<String> {
            let names = all.iter().filter(|name| !known.contains(name));
            names.map(|&name| name.to_owned()).collect()
        };
        assert_eq!(untested(&[test]), (missing(&tested), missing(&bounded)), "{test}");
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
    let long = |bytes: usize| format!("{BASE}#{}\n", "x".repeat(bytes - BASE.len() - 2));
    assert_eq!(lines(&checked(&long(1024 * 1024))), Vec::<String>::new());
    let expected = "CW0010 1:1-2 longer than 1048576 bytes";
    assert_eq!(lines(&checked(&long(1024 * 1024 + 1))), [expected]);
    let many = |templates: usize| {
        let call = |at| format!("      - http: GET /v2/{at}\n");
        let calls: String = (0..templates).map(call).collect();
        bent("      - http: GET /v1/things/{id}\n", &calls)
    };
    assert_eq!(lines(&checked(&many(1024))), Vec::<String>::new());
    let expected = "CW0010 4:3-6 rules declare more than 1024 path templates for `web`";
    assert_eq!(lines(&checked(&many(1025))), [expected]);
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
    const FROM: &str = "    from: web\n";
    for (from, to, help) in [
        ("    from: web", "    from: wbe", "did you mean `web`?"),
        ("    role: reader", "    role: raeder", "did you mean `reader`?"),
        ("    from: web", "    from: segment/frnt", "did you mean `segment/front`?"),
        ("    except: [rpc]", "    excpet: [rpc]", "did you mean `except`?"),
        ("by: web-reads", "by: web-raeds", "did you mean `web-reads`?"),
        ("{tcp: 5432}]", "{tcp: 5433}]", "use `tcp: 5432`"),
        (FROM, "    from: web\n    across: [evn]\n", "did you mean `env`?"),
        (FROM, "    from: web\n    across: [region]\n", "it has `env`"),
        (FROM, "    from: web\n    when: caller.teir == 'edge'\n", "did you mean `caller.tier`?"),
        (FROM, "    from: web\n    when: caler.tier == 'edge'\n", "did you mean `caller.tier`?"),
        (FROM, "    from: web\n    when: caller.workload == 'wbe'\n", "did you mean `web`?"),
        (FROM, "    from: web\n    when: caller.segment == 'frnt'\n", "did you mean `front`?"),
        (FROM, "    from: web\n    when: caller.tier == 'egde'\n", "did you mean `edge`?"),
    ] {
        let findings = checked(&bent(from, to)).findings;
        assert_eq!(findings.0[0].help.as_deref(), Some(help), "{to}");
    }
    let flat = "version: cellwall/v1\nidentity: \"spiffe://a/{workload}\"\nrules:\n  - {name: n, \
                from: any, to: any, across: [env], allow: [{tcp: 1}], why: w}\n";
    let findings = checked(flat).findings;
    let none = "it has none, so there is no boundary";
    assert_eq!(findings.0[0].help.as_deref(), Some(none), "{findings:?}");
}

#[test]
fn a_text_that_cannot_be_read_has_a_help_that_fits_it() {
    let quotes = "a text that begins with `{`, `[` or `*` needs quotes";
    let bracket =
        "look at this line and the ones above for a missing `:`, quote or closing bracket";
    let deep = format!("rules: {}1{}", "[".repeat(40), "]".repeat(40));
    for (text, at, message, help) in [
        ("owner: &a b", "2:11", "anchors", "write it out where it is needed"),
        ("<<: {owner: a}", "2:1", "merge keys", "write it out where it is needed"),
        (
            "---\nowner: a",
            "2:1",
            "one document",
            "put what stands below `---` in a file of its own, and `include` it",
        ),
        ("owner: {a} b", "2:12", "", quotes),
        ("owner: {a b", "2:8", "", bracket),
        ("owner: a} b: c", "2:12", "mapping values", bracket),
        ("owner: [a} b", "2:8", "", bracket),
        ("owner: *", "2:8", "an anchor or alias", quotes),
        ("include: [*.yaml]", "2:11", "anchors", quotes),
        (&deep, "2:39", "nested too deeply", "split the file"),
        ("rules:\n  - name: a\n   \tfrom: b", "4:4", "a tab", "indent with spaces"),
    ] {
        let findings = checked(&format!("version: cellwall/v1\n{text}\n")).findings.0;
        let [found] = findings.as_slice() else { panic!("{text} {findings:?}") };
        let place = format!("{}:{}", found.line, found.column);
        assert_eq!((place.as_str(), found.help.as_deref()), (at, Some(help)), "{text} {found:?}");
        assert!(found.message.contains(message), "{found:?}");
    }
    let large = format!("[{}]\n", "1,".repeat(200_000));
    let found = checked(&large).findings;
    assert_eq!(found.0[0].message, "larger than a policy file may be");
    assert_eq!(found.0[0].help.as_deref(), Some("split the file"));
}

#[test]
fn a_key_of_the_root_file_is_told_where_it_belongs() {
    let mut sources = Sources::single(bent("identity:", "include: [more.yaml]\nidentity:"));
    sources.files.insert("more.yaml".to_owned(), "version: cellwall/v1\nprobes: []\n".to_owned());
    let found = check(&sources);
    assert_eq!(lines(&found), ["CW0009 2:1-7 `probes` belongs in cellwall.yaml"]);
}

#[test]
fn the_longest_address_of_a_person_has_254_bytes() {
    let found = |bytes: usize| {
        let owner = format!("owner: {}@x\nidentity:", "a".repeat(bytes - 2));
        checked(&bent("identity:", &owner)).findings.0.into_iter().map(|it| it.code).collect()
    };
    let none: Vec<String> = found(254);
    assert_eq!(none, Vec::<String>::new());
    let long: Vec<String> = found(255);
    assert_eq!(long, ["CW0102"]);
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
