//! Conditions, grants, guards of some calls, rules across a boundary, foreign callers, listeners.

use std::time::{Duration, SystemTime};

use cellwall_policy::{
    Call, CallDocument, Callers, Condition, GuardDocument, ListensDocument, Mode, Operand,
    ProbeDocument, Protocol, RequestPath, RuleDocument, Snapshot, SnapshotDocument, Tls, TlsFact,
};

use crate::sample::{answer, ask, grant, guard, http, id, named, open_vault, rule, vault};

const OLD_GROUP: Tls = Tls { version: "1.3", group: "X25519" };

/// The answer for a caller of prod, a connection and a second.
fn at(document: &SnapshotDocument, caller: &str, tls: Tls, seconds: u64) -> String {
    let snapshot = Snapshot::new(document.clone()).unwrap();
    let path = RequestPath::parse("/v1/tokens").unwrap();
    let call = Call::Http { method: "POST", path: &path };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let decision = snapshot.decide(&id(caller), &tls, &call, now);
    let until = decision.until.map(|until| until.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let until = until.map_or_else(String::new, |until| format!(" until {}", until.as_secs()));
    format!("{} by {}{until}", decision.verdict.as_str(), decision.by)
}

fn text(text: &str) -> Operand {
    Operand::Text(text.to_owned())
}

fn group_is(group: &str) -> Condition {
    Condition::Equal(Operand::Tls(TlsFact::Group), text(group))
}

fn env_is(value: &str) -> Condition {
    Condition::Equal(Operand::Caller("env".to_owned()), text(value))
}

fn tokens(name: &str, from: Callers) -> RuleDocument {
    rule(name, from, &[http("POST", "/v1/tokens")])
}

const CHECKOUT: &str = "spiffe://pay.example/prod/checkout";
const STAGING: &str = "spiffe://pay.example/staging/checkout";
const PARTNER: &str = "spiffe://partner.example/settlement";

#[test]
fn a_grant_allows_from_its_first_second_and_not_in_its_last() {
    let mut document = open_vault();
    document.rules.clear();
    document.grants = vec![grant("INC-4821", named("checkout"))];
    for (second, expected) in [
        (0, "deny by default"),
        (999, "deny by default"),
        (1_000, "allow by grant/INC-4821 until 2000"),
        (1_999, "allow by grant/INC-4821 until 2000"),
        (2_000, "deny by default"),
        (2_001, "deny by default"),
    ] {
        assert_eq!(at(&document, CHECKOUT, Tls::default(), second), expected, "{second}");
    }
    assert_eq!(at(&document, STAGING, Tls::default(), 1_500), "deny by boundary/env");
}

#[test]
fn a_rule_wins_over_a_grant_and_a_guard_over_both() {
    let mut document = open_vault();
    document.rules = vec![tokens("zz-rule", named("checkout"))];
    document.grants = vec![grant("a-grant", named("checkout payments"))];
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 1_500), "allow by zz-rule");
    document.guards = vec![guard("nobody", Callers::Any, "")];
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 1_500), "deny by guard/nobody");
}

#[test]
fn of_two_grants_the_first_by_name_that_is_in_force_is_named() {
    let mut document = open_vault();
    document.rules.clear();
    let mut later = grant("b-later", named("checkout"));
    (later.starts, later.expires) = (1_500, 3_000);
    document.grants = vec![later, grant("a-first", named("checkout"))];
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 1_600), "allow by grant/a-first until 2000");
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 2_000), "allow by grant/b-later until 3000");
}

#[test]
fn a_rule_allows_only_where_its_condition_holds() {
    let mut document = open_vault();
    let strict = RuleDocument {
        when: Some(group_is("X25519MLKEM768")),
        ..tokens("strict", named("checkout"))
    };
    document.rules = vec![strict, tokens("wide", named("payments"))];
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 0), "allow by strict");
    assert_eq!(at(&document, CHECKOUT, OLD_GROUP, 0), "deny by default");
    // The next rule by name counts where the first one's condition fails, and not before.
    document.rules.push(tokens("z-second", named("checkout")));
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 0), "allow by strict");
    assert_eq!(at(&document, CHECKOUT, OLD_GROUP, 0), "allow by z-second");
    // An unconditional rule with a lesser name hides it.
    document.rules.push(tokens("a-zero", named("checkout")));
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 0), "allow by a-zero");
}

#[test]
fn what_a_condition_cannot_say_is_no_yes_for_a_rule_and_no_opening_of_a_guard() {
    // AZ-02
    use Condition::{Absent, All, Not, Some};
    let (yes, no) = (group_is("X25519MLKEM768"), group_is("X25519"));
    let not = |condition: &Condition| Not(Box::new(condition.clone()));
    for (condition, allows, denies) in [
        (yes.clone(), true, true),
        (no.clone(), false, false),
        (not(&yes), false, false),
        (not(&no), true, true),
        (Absent, false, true),
        (not(&Absent), false, true),
        (All(vec![Absent, yes.clone()]), false, true),
        (All(vec![no.clone(), Absent]), false, false),
        (All(vec![yes.clone(), yes.clone()]), true, true),
        (All(vec![yes.clone(), no.clone()]), false, false),
        (All(Vec::new()), true, true),
        (Some(vec![yes.clone(), Absent]), true, true),
        (Some(vec![Absent, no.clone()]), false, true),
        (Some(vec![no.clone(), yes.clone()]), true, true),
        (Some(vec![no.clone(), no.clone()]), false, false),
        (Some(Vec::new()), false, false),
        (
            Condition::In(Operand::Tls(TlsFact::Version), vec!["1.2".into(), "1.3".into()]),
            true,
            true,
        ),
        (Condition::In(Operand::Tls(TlsFact::Version), vec!["1.2".into()]), false, false),
        (Condition::Equal(text("a"), text("a")), true, true),
        (Condition::Equal(text("a"), text("b")), false, false),
        (env_is("prod"), true, true),
        (env_is("pro"), false, false),
    ] {
        let mut document = open_vault();
        document.rules = vec![RuleDocument {
            when: Option::from(condition.clone()),
            ..tokens("r", named("checkout"))
        }];
        let allowed = at(&document, CHECKOUT, Tls::default(), 0) == "allow by r";
        document.rules = vec![tokens("r", named("checkout"))];
        document.guards = vec![GuardDocument {
            when: Option::from(condition.clone()),
            ..guard("g", Callers::Any, "")
        }];
        let denied = at(&document, CHECKOUT, Tls::default(), 0) == "deny by guard/g";
        assert_eq!((allowed, denied), (allows, denies), "{condition:?}");
    }
}

#[test]
fn a_guard_judges_the_callers_side_before_the_boundary_does() {
    let mut document = open_vault();
    let other = Condition::Not(Box::new(env_is("prod")));
    document.guards =
        vec![GuardDocument { when: Some(other), ..guard("no-cross-env", Callers::Any, "") }];
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 0), "allow by checkout-tokenises");
    assert_eq!(at(&document, STAGING, Tls::default(), 0), "deny by guard/no-cross-env");
    // Whoever has no environment is not known to have the right one.
    for stranger in [PARTNER, "spiffe://other.example/prod/checkout"] {
        let answer = at(&document, stranger, Tls::default(), 0);
        assert_eq!(answer, "deny by guard/no-cross-env", "{stranger}");
    }
}

#[test]
fn a_guard_of_some_calls_denies_whatever_its_templates_match() {
    let mut document = open_vault();
    document.rules = vec![
        rule("exact", named("checkout"), &[http("GET", "/admin/status"), http("GET", "/admin")]),
        rule("rest", named("checkout"), &[http("GET", "/admin/{rest...}")]),
        rule("put", named("checkout"), &[http("PUT", "/admin/status")]),
    ];
    let calls = vec![http("GET", "/admin/{rest...}"), http("GET", "/a/{b}")];
    document.guards = vec![GuardDocument { calls, ..guard("admin", named("checkout"), "") }];
    for (method, path, expected) in [
        // Owned by a more specific template, and matched all the same.
        ("GET", "/admin/status", "deny by guard/admin"),
        ("GET", "/admin/x/y", "deny by guard/admin"),
        // Owned by nobody.
        ("GET", "/a/b", "deny by guard/admin"),
        ("GET", "/a/b/c", "deny by default"),
        ("GET", "/admin", "allow by exact"),
        ("PUT", "/admin/status", "allow by put"),
    ] {
        let answer = answer(&document, "prod/checkout", method, path);
        assert_eq!(answer, expected, "{method} {path}");
    }
    assert_eq!(answer(&document, "prod/payments", "GET", "/admin/status"), "deny by default");
}

#[test]
fn a_guard_of_some_grpc_calls_denies_methods_and_whole_services() {
    let grpc = |service: &str, method: &str| CallDocument::Grpc {
        service: service.to_owned(),
        method: method.to_owned(),
    };
    let mut document = SnapshotDocument {
        listens: vec![ListensDocument::of(Protocol::Grpc, 1)],
        rules: vec![rule(
            "all",
            Callers::Any,
            &[grpc("a.A", "*"), grpc("a.A", "Get"), grpc("a.B", "*")],
        )],
        ..open_vault()
    };
    document.guards = vec![
        // A method that is said as well is not taken out of its service.
        GuardDocument {
            calls: vec![grpc("a.A", "*"), grpc("a.A", "Put")],
            ..guard("whole", named("payments"), "")
        },
        GuardDocument { calls: vec![grpc("a.A", "Put")], ..guard("put", named("checkout"), "") },
    ];
    for (caller, service, method, expected) in [
        ("payments", "a.A", "Get", "deny by guard/whole"),
        ("payments", "a.A", "Put", "deny by guard/whole"),
        ("payments", "a.A", "Other", "deny by guard/whole"),
        ("payments", "a.B", "Get", "allow by all"),
        ("checkout", "a.A", "Put", "deny by guard/put"),
        ("checkout", "a.A", "Get", "allow by all"),
        ("checkout", "a.A", "Other", "allow by all"),
    ] {
        let call = Call::Grpc { service, method };
        let decision = ask(&document, &format!("spiffe://pay.example/prod/{caller}"), &call);
        let answer = format!("{} by {}", decision.verdict.as_str(), decision.by);
        assert_eq!(answer, expected, "{caller} {service}/{method}");
    }
}

#[test]
fn a_guard_in_audit_records_what_else_would_pass_and_opens_nothing() {
    let mut document = vault();
    document.guards = vec![
        GuardDocument { mode: Mode::Audit, ..guard("watch", Callers::Any, "") },
        guard("z-payments", named("payments"), ""),
    ];
    for (caller, path, expected) in [
        ("prod/checkout", "/v1/tokens", "audit by guard/watch"),
        ("prod/checkout", "/other", "deny by default"),
        ("prod/payments", "/v1/tokens", "deny by guard/z-payments"),
        ("staging/checkout", "/v1/tokens", "deny by boundary/env"),
        ("prod/nobody", "/v1/tokens", "deny by default"),
    ] {
        assert_eq!(answer(&document, caller, "POST", path), expected, "{caller} {path}");
    }
    document.mode = Mode::Audit;
    assert_eq!(answer(&document, "prod/checkout", "POST", "/other"), "audit by guard/watch");
    // An enforced guard with the same reach wins, whichever name comes first.
    document.guards[0].mode = Mode::Enforce;
    document.guards.push(GuardDocument { mode: Mode::Audit, ..guard("a", Callers::Any, "") });
    assert_eq!(answer(&document, "prod/checkout", "POST", "/v1/tokens"), "deny by guard/watch");
}

#[test]
fn a_grant_that_is_audited_ends_all_the_same() {
    let mut document = open_vault();
    document.rules.clear();
    document.grants = vec![grant("INC-1", named("checkout"))];
    document.guards = vec![GuardDocument { mode: Mode::Audit, ..guard("watch", Callers::Any, "") }];
    let answer = at(&document, CHECKOUT, Tls::default(), 1_500);
    assert_eq!(answer, "audit by guard/watch until 2000");
}

#[test]
fn only_a_rule_that_goes_across_opens_a_boundary() {
    let mut document = open_vault();
    document.rules = vec![
        tokens("a-inside", named("checkout")),
        RuleDocument { across: vec!["env".to_owned()], ..tokens("b-across", named("checkout")) },
    ];
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 0), "allow by a-inside");
    assert_eq!(at(&document, STAGING, Tls::default(), 0), "allow by b-across");
    // Said twice it says no less.
    document.rules[1].across = vec!["env".to_owned(); 2];
    assert_eq!(at(&document, STAGING, Tls::default(), 0), "allow by b-across");
    document.rules[1].when = Some(env_is("dev"));
    assert_eq!(at(&document, STAGING, Tls::default(), 0), "deny by boundary/env");
    document.rules[1].when = Some(env_is("staging"));
    assert_eq!(at(&document, STAGING, Tls::default(), 0), "allow by b-across");
    // In audit, too, nobody else comes across.
    document.mode = Mode::Audit;
    let payments = "spiffe://pay.example/staging/payments";
    assert_eq!(at(&document, payments, Tls::default(), 0), "deny by boundary/env");
}

#[test]
fn a_rule_crosses_each_variable_that_it_names_and_no_other() {
    let document = SnapshotDocument {
        identity: "spiffe://pay.example/{region}/{env}/{workload}".to_owned(),
        callee: "spiffe://pay.example/eu/prod/card-vault".to_owned(),
        callers: vec![vault().callers[0].clone()],
        rules: vec![RuleDocument {
            across: vec!["region".to_owned()],
            ..tokens("across", named("checkout"))
        }],
        destinations: Vec::new(),
        ..open_vault()
    };
    for (caller, expected) in [
        ("eu/prod/checkout", "allow by across"),
        ("us/prod/checkout", "allow by across"),
        ("eu/staging/checkout", "deny by boundary/env"),
        ("us/staging/checkout", "deny by boundary/region"),
    ] {
        assert_eq!(
            at(&document, &format!("spiffe://pay.example/{caller}"), Tls::default(), 0),
            expected
        );
    }
}

#[test]
fn a_foreign_caller_is_let_in_by_its_whole_id_and_never_by_any() {
    // AZ-04
    let across = |rule: RuleDocument| RuleDocument { across: vec!["env".to_owned()], ..rule };
    let mut document = SnapshotDocument {
        foreign: vec![PARTNER.to_owned()],
        rules: vec![across(tokens("partner", Callers::Named(vec![PARTNER.to_owned()])))],
        ..open_vault()
    };
    for (caller, expected) in [
        (PARTNER, "allow by partner"),
        ("spiffe://partner.example/settlement/x", "deny by boundary/env"),
        ("spiffe://partner.example/prod/checkout", "deny by boundary/env"),
        ("spiffe://partner.example/settle", "deny by boundary/env"),
        ("spiffe://partner2.example/settlement", "deny by boundary/env"),
        ("spiffe://pay.example/prod", "deny by default"),
    ] {
        assert_eq!(at(&document, caller, Tls::default(), 0), expected, "{caller}");
    }
    let snapshot = Snapshot::new(document.clone()).unwrap();
    assert_eq!(snapshot.workload_of(&id(PARTNER)).map(|name| &**name), Some(PARTNER));
    // Without `across` its lack of an environment keeps it out.
    document.rules[0].across.clear();
    assert_eq!(at(&document, PARTNER, Tls::default(), 0), "deny by boundary/env");
    // `any` in a rule means workloads of these documents; in a guard everyone.
    document.rules = vec![across(tokens("any", Callers::Any))];
    assert_eq!(at(&document, PARTNER, Tls::default(), 0), "deny by boundary/env");
    assert_eq!(at(&document, STAGING, Tls::default(), 0), "allow by any");
    document.guards = vec![guard("g", Callers::Any, "")];
    assert_eq!(at(&document, PARTNER, Tls::default(), 0), "deny by guard/g");
    document.guards[0].except = vec![PARTNER.to_owned()];
    assert_eq!(at(&document, PARTNER, Tls::default(), 0), "deny by boundary/env");
    // Nor does `audit` let it pass.
    (document.mode, document.identity) =
        (Mode::Audit, "spiffe://pay.example/prod/{workload}".into());
    document.callers.truncate(2);
    document.rules = vec![tokens("none", named("checkout"))];
    assert_eq!(at(&document, PARTNER, Tls::default(), 0), "deny by default");
}

#[test]
fn a_guard_against_strangers_leaves_those_alone_whom_the_snapshot_lists() {
    let mut document = open_vault();
    document.foreign = vec![PARTNER.to_owned()];
    document.guards = vec![guard("strangers", Callers::Unknown, "")];
    let allowed = "allow by checkout-tokenises";
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 0), allowed);
    assert_eq!(at(&document, PARTNER, Tls::default(), 0), "deny by boundary/env");
    for stranger in ["spiffe://pay.example/prod/nobody", "spiffe://partner.example/other"] {
        assert_eq!(at(&document, stranger, Tls::default(), 0), "deny by guard/strangers");
    }
    // In a rule it means nobody.
    document.guards.clear();
    document.rules = vec![tokens("r", Callers::Unknown)];
    for caller in [CHECKOUT, "spiffe://pay.example/prod/nobody"] {
        assert_eq!(at(&document, caller, Tls::default(), 0), "deny by default");
    }
}

#[test]
fn several_listeners_are_opened_each_by_its_calls() {
    // AZ-03
    let listener = |protocol, port| ListensDocument::of(protocol, port);
    let document = SnapshotDocument {
        listens: vec![
            listener(Protocol::Http, 8443),
            listener(Protocol::Tcp, 5432),
            listener(Protocol::Tcp, 5433),
        ],
        mode: Mode::Audit,
        rules: vec![
            tokens("web", named("checkout")),
            rule("db", named("checkout"), &[CallDocument::Tcp { port: 5432 }]),
        ],
        ..open_vault()
    };
    assert_eq!(at(&document, CHECKOUT, Tls::default(), 0), "allow by web");
    let grpc = Call::Grpc { service: "a.A", method: "Get" };
    for (call, expected) in [
        (Call::Tcp { port: 5432 }, "allow by db"),
        (Call::Tcp { port: 5433 }, "audit by default"),
        (Call::Tcp { port: 8443 }, "deny by default"),
        (Call::Tcp { port: 1 }, "deny by default"),
        (grpc, "deny by default"),
    ] {
        let decision = ask(&document, CHECKOUT, &call);
        let answer = format!("{} by {}", decision.verdict.as_str(), decision.by);
        assert_eq!(answer, expected, "{call:?}");
    }
}

#[test]
fn a_probe_is_exactly_what_the_policy_lists() {
    let probe =
        |method: &str, path: &str| ProbeDocument { method: method.into(), path: path.into() };
    let probes = vec![probe("GET", "/livez"), probe("HEAD", "/livez"), probe("GET", "/readyz")];
    let snapshot = Snapshot::new(SnapshotDocument { probes, ..vault() }).unwrap();
    for (method, path, is_probe) in [
        ("GET", "/livez", true),
        ("HEAD", "/livez", true),
        ("GET", "/readyz", true),
        ("HEAD", "/readyz", false),
        ("POST", "/livez", false),
        ("GET", "/livez/", false),
        ("GET", "/live", false),
        ("GET", "/v1/tokens", false),
    ] {
        let path = RequestPath::parse(path).unwrap();
        assert_eq!(snapshot.is_probe(method, &path), is_probe, "{method} {path:?}");
    }
}

#[test]
fn a_condition_beyond_the_limits_is_refused() {
    // AZ-07
    let with = |when: Condition| {
        let mut document = open_vault();
        document.rules[0].when = Some(when);
        Snapshot::new(document).is_ok()
    };
    let deep = |levels: usize| {
        (0..levels).fold(env_is("prod"), |inner, _| Condition::Not(Box::new(inner)))
    };
    let wide = |parts: usize| Condition::All(vec![Condition::Absent; parts]);
    let texts = |count: usize| Condition::In(text("a"), vec!["a".to_owned(); count]);
    assert_eq!([with(deep(32)), with(deep(33))], [true, false]);
    let nested = |levels: usize, wrap: fn(Vec<Condition>) -> Condition| {
        (0..levels).fold(env_is("prod"), |inner, _| wrap(vec![inner]))
    };
    for wrap in [Condition::All, Condition::Some] {
        assert_eq!([with(nested(32, wrap)), with(nested(33, wrap))], [true, false]);
    }
    assert_eq!([with(wide(1_023)), with(wide(1_024))], [true, false]);
    assert_eq!([with(texts(1_024)), with(texts(1_025))], [true, false]);
}

#[test]
fn a_second_spelling_of_a_path_is_no_way_around_a_guard_or_an_owner() {
    // HTTP-08, AZ-06
    let mut document = open_vault();
    document.rules = vec![
        rule("any-thing", named("checkout"), &[http("POST", "/v1/{thing}")]),
        rule("refunds", named("payments"), &[http("POST", "/v1/payments:refund")]),
    ];
    for path in ["/v1/payments:refund", "/v1/payments%3Arefund", "/v1/payments%3arefund"] {
        assert_eq!(answer(&document, "prod/checkout", "POST", path), "deny by default", "{path}");
        assert_eq!(answer(&document, "prod/payments", "POST", path), "allow by refunds", "{path}");
    }
    document.rules.pop();
    document.guards = vec![GuardDocument {
        calls: vec![http("POST", "/v1/payments:refund")],
        ..guard("no-refunds", Callers::Any, "")
    }];
    for path in ["/v1/payments:refund", "/v1/payments%3Arefund"] {
        assert_eq!(answer(&document, "prod/checkout", "POST", path), "deny by guard/no-refunds");
    }
}
