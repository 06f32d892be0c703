//! Large documents: they load, and what is too large is said so. How long a large fleet takes is
//! measured by `examples/scale.rs`.

use std::fmt::Write as _;

use cellwall_policy_language::{Sources, check, load};

use crate::sample::{BASE, checked, lines};

/// AZ-07: workloads of one file, which is one segment.
const WORKLOADS: usize = 25;

/// A policy of many files, in each a segment: rules from neighbours, segments and labels.
fn large(files: usize, rules: usize) -> Sources {
    let root = "version: cellwall/v1\nidentity: \"spiffe://pay.example/{env}/{workload}\"\n\
                include: [s/*.yaml]\nguards:\n  - {name: apart, deny: any -> any, \
                when: caller.env != callee.env, why: w}\n  - {name: core, deny: any -> {tier: t3}, \
                except: {tier: t1}, calls: [{http: \"DELETE /{all...}\"}], why: w}\n";
    let mut sources = Sources::single(root.replace("any -> {tier: t3}", "\"any -> {tier: t3}\""));
    let all = files * WORKLOADS;
    for file in 0..files {
        let mut text = "version: cellwall/v1\nworkloads:\n".to_owned();
        let members = file * WORKLOADS..(file + 1) * WORKLOADS;
        for number in members.clone() {
            let tier = number % 4;
            let _ =
                writeln!(text, "  w{number}: {{listens: {{http: 80}}, labels: {{tier: t{tier}}}}}");
        }
        let names: Vec<_> = members.clone().map(|number| format!("w{number}")).collect();
        let names = names.join(", ");
        let _ =
            writeln!(text, "segments:\n  s{file}: {{members: [{names}], mode: enforce}}\nrules:");
        for number in members {
            for rule in 0..rules {
                let from = match rule % 5 {
                    3 => format!("segment/s{file}, when: caller.tier != \"t{}\"", rule % 4),
                    4 => "{tier: t2}".to_owned(),
                    _ => format!("w{}", (number * 31 + rule * 17 + 1) % all),
                };
                let _ = writeln!(
                    text,
                    "  - {{name: r{number}-{rule}, from: {from}, to: w{number}, \
                     allow: [{{http: \"GET /{rule}/{{x}}\"}}], why: w}}"
                );
            }
        }
        sources.files.insert(format!("s/{file}.yaml"), text);
    }
    sources
}

#[test]
fn a_policy_of_many_files_loads() {
    let set = load(&large(16, 10)).unwrap();
    let summary = set.summary();
    assert_eq!((summary.files, summary.workloads, summary.rules), (17, 400, 4_000));
    assert_eq!(set.warnings().0, []);
}

#[test]
fn very_many_misspelt_names_are_all_found_and_only_some_compared() {
    let mut sources = large(8, 10);
    for text in sources.files.values_mut() {
        *text = text.replace("from: w", "from: x-w");
    }
    let findings = check(&sources).findings;
    assert_eq!(findings.errors(), 8 * 25 * 6);
    let compared = findings.0.iter().filter(|finding| finding.help.is_some()).count();
    assert!((1..=200).contains(&compared), "{compared}");
}

/// What is found where so many rules are about `web`, the one of the base among them.
fn rules_about_one(many: usize) -> Vec<String> {
    let mut rules = "rules:\n".to_owned();
    for number in 1..many {
        let (one, other) = (number / 100, number % 100);
        let _ = writeln!(
            rules,
            "  - {{name: n{number}, from: rpc, to: web, allow: [{{http: GET /{one}}}, \
             {{http: PUT /{other}}}], why: w}}"
        );
    }
    lines(&checked(&BASE.replacen("rules:\n", &rules, 1)))
}

#[test]
fn as_many_rules_about_one_callee_as_it_can_hold_are_taken() {
    assert_eq!(rules_about_one(10_000), Vec::<String>::new());
}

#[test]
fn more_rules_about_one_callee_than_it_can_hold_are_refused_by_its_name() {
    let expected = ["CW0010 4:3-6 more than 10000 rules and grants are about `web`"];
    assert_eq!(rules_about_one(10_001), expected);
}

#[test]
fn more_guards_than_a_policy_holds_are_refused() {
    let mut guards = "guards:\n".to_owned();
    for number in 0..10_000 {
        let _ = writeln!(guards, "  - {{name: n{number}, deny: rpc -> web, why: w}}");
    }
    let found = lines(&checked(&BASE.replacen("guards:\n", &guards, 1)));
    assert!(found.contains(&"CW0010 10029:11-16 more than 10000 guards".to_owned()), "{found:?}");
}

/// Some workloads, and rules about `w0` with a condition that differs by caller.
fn folded(identity: &str, workloads: usize, rules: usize, condition: &str) -> Vec<String> {
    let names: Vec<String> = (0..workloads).map(|at| format!("w{at}")).collect();
    let mut text = format!("version: cellwall/v1\nidentity: \"{identity}\"\nworkloads:\n");
    for name in &names {
        let _ = writeln!(text, "  {name}: {{listens: {{http: 1}}}}");
    }
    let _ = writeln!(text, "segments:\n  all: {{members: [{}], mode: enforce}}", names.join(", "));
    text.push_str("rules:\n");
    for rule in 0..rules {
        let _ = writeln!(
            text,
            "  - {{name: r{rule}, from: any, to: w0, allow: [{{http: GET /x{rule}}}], {condition}, why: w}}"
        );
    }
    lines(&checked(&text)).into_iter().filter(|it| it.starts_with("CW")).collect()
}

#[test]
fn what_a_callee_cannot_hold_is_refused_with_the_environments_in_which_it_cannot() {
    const ENV: &str = "spiffe://pay.example/{env}/{workload}";
    const REGION: &str = "spiffe://pay.example/{region}/{env}/{workload}";
    let because = "the policy is not valid: more rules or guards than one snapshot may hold";
    for (identity, (workloads, rules), condition, place) in [
        // All others can.
        (
            ENV,
            (120, 100),
            "across: [env], when: 'callee.env == \"prod\" && caller.env == caller.workload'",
            " in prod",
        ),
        // Both sides are in one environment, so what the caller's is says what the callee's is.
        (
            REGION,
            (40, 300),
            "across: [region], when: 'caller.env != \"prod\" && caller.region == caller.workload'",
            " in w0/other",
        ),
        // None can.
        (ENV, (120, 100), "across: [env], when: 'caller.env == caller.workload'", ""),
    ] {
        let expected =
            format!("CW0010 4:3-5 the policy of `w0` does not compile{place}: {because}");
        assert_eq!(folded(identity, workloads, rules, condition), [expected], "{condition}");
    }
}
