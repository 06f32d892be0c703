//! Guards: which paths they are about, many of them, and all of them against a scan.

use std::time::{Duration, Instant, SystemTime};

use cellwall_policy::{
    Call, CallDocument, CallerDocument, Callers, Condition, GuardDocument, Mode, Operand,
    RequestPath, Snapshot, SnapshotDocument, SnapshotError, Tls,
};
use proptest::{prelude::*, sample::select};

use crate::sample::{answer, guard, http, id, named, open_vault, rule};

#[test]
fn a_guard_denies_a_path_with_and_without_a_slash_at_its_end() {
    let mut document = open_vault();
    document.mode = Mode::Audit;
    let calls = ["/a", "/b/", "/c/{x}", "/d/{rest...}", "/e/{x}/", "/"].map(|it| http("POST", it));
    let calls = calls.to_vec();
    document.rules.clear();
    document.guards = vec![GuardDocument { calls, ..guard("g", Callers::Any, "") }];
    for (path, is_denied) in [
        ("/a", true),
        ("/a/", true),
        ("/a/x", false),
        ("/a/x/", false),
        ("/b", true),
        ("/b/", true),
        ("/c/1", true),
        ("/c/1/", true),
        ("/d/1", true),
        ("/d/1/", true),
        ("/d/1/2/", true),
        ("/e/1", true),
        ("/e/1/", true),
        ("/", true),
        // A slash is no segment: a template with one segment more is about another path.
        ("/c", false),
        ("/c/", false),
        ("/d", false),
        ("/d/", false),
        ("/e/", false),
        ("/x", false),
    ] {
        let expected = if is_denied { "deny by guard/g" } else { "audit by default" };
        assert_eq!(answer(&document, "prod/checkout", "POST", path), expected, "{path}");
        assert_eq!(answer(&document, "prod/checkout", "PUT", path), "audit by default", "{path}");
    }
    // In audit it records both.
    document.guards[0].mode = Mode::Audit;
    for path in ["/a", "/a/", "/b", "/d/1/"] {
        assert_eq!(answer(&document, "prod/checkout", "POST", path), "audit by guard/g", "{path}");
    }
}

#[test]
fn a_rule_opens_a_path_only_with_the_slash_that_it_has() {
    let mut document = open_vault();
    let calls = ["/a", "/b/", "/c/{x}", "/d/{rest...}"].map(|it| http("POST", it));
    document.rules = vec![rule("r", named("checkout"), &calls)];
    for (path, is_allowed) in [
        ("/a", true),
        ("/a/", false),
        ("/b", false),
        ("/b/", true),
        ("/c/1", true),
        ("/c/1/", false),
        ("/d/1", true),
        ("/d/1/", false),
    ] {
        let expected = if is_allowed { "allow by r" } else { "deny by default" };
        assert_eq!(answer(&document, "prod/checkout", "POST", path), expected, "{path}");
    }
}

/// The environment of the caller is this one.
fn env_is(value: &str) -> Condition {
    let text = Operand::Text(value.to_owned());
    Condition::Equal(Operand::Caller("env".to_owned()), text)
}

/// As many callers as guards, and each guard excepts one of them.
fn excepting(count: usize) -> SnapshotDocument {
    let name = |one: usize| format!("c{one}");
    let mut document = open_vault();
    document.callers = (0..count).map(|one| CallerDocument { name: name(one), id: None }).collect();
    document.rules = vec![rule("all", Callers::Any, &[http("GET", "/")])];
    // No two of them are about the same, so that none is left out for another one.
    let one = |one: usize| GuardDocument {
        when: Some(env_is(&format!("e{one}"))),
        ..guard(&format!("g{one:04}"), Callers::Any, &name(one))
    };
    document.guards = (0..count).map(one).collect();
    document
}

#[test]
fn a_thousand_guards_with_an_exception_each_are_indexed_in_their_number() {
    let mut document = excepting(1_000);
    document.guards[700].when = None;
    let started = Instant::now();
    let snapshot = Snapshot::new(document).unwrap();
    let took = started.elapsed();
    // Where each list was walked for each guard that it got, this took twenty times as long.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let path = RequestPath::parse("/").unwrap();
    for (caller, expected) in [("c3", "deny by guard/g0700"), ("c700", "allow by all")] {
        let caller = id(&format!("spiffe://pay.example/prod/{caller}"));
        let call = Call::Http { method: "GET", path: &path };
        let decision = snapshot.decide(&caller, &Tls::default(), &call, SystemTime::UNIX_EPOCH);
        assert_eq!(format!("{} by {}", decision.verdict.as_str(), decision.by), expected);
    }
}

#[test]
fn more_pairs_of_caller_and_guard_than_the_limit_are_refused() {
    // AZ-07
    let refused = SnapshotError::TooMany("pairs of caller and guard");
    assert_eq!(Snapshot::new(excepting(4_100)).unwrap_err(), refused);
    // Callers that are told apart alike share one list, and those that are not told apart another.
    let mut document = excepting(4_100);
    for guard in &mut document.guards {
        guard.except = vec!["c0".to_owned(), "c1".to_owned()];
    }
    assert!(Snapshot::new(document).is_ok());
}

const CALLERS: [&str; 4] = ["c0", "c1", "c2", "c3"];
const PATHS: [&str; 3] = ["/a", "/a/", "/b"];

fn some_of(callers: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(callers, 0..=callers.len())
        .prop_map(|some| some.into_iter().map(str::to_owned).collect())
}

fn any_guard() -> impl Strategy<Value = GuardDocument> {
    let from = prop_oneof![
        4 => Just(Callers::Any),
        1 => Just(Callers::Unknown),
        3 => some_of(&CALLERS).prop_map(Callers::Named),
    ];
    let calls = prop_oneof![
        1 => Just(Vec::new()),
        4 => select(&PATHS[..]).prop_map(|path| vec![http("GET", path)]),
    ];
    let when = prop_oneof![
        3 => Just(None),
        1 => select(vec!["prod", "dev"]).prop_map(|env| Some(env_is(env))),
    ];
    let mode = prop_oneof![Just(Mode::Enforce), Just(Mode::Audit)];
    (from, some_of(&CALLERS[..2]), calls, when, mode).prop_map(
        |(from, except, calls, when, mode)| GuardDocument {
            calls,
            when,
            mode,
            from,
            ..guard("g", Callers::Any, &except.join(" "))
        },
    )
}

/// The definition: the first guard by name that denies it, else the first that would.
fn scanned(guards: &[GuardDocument], caller: &str, path: &str) -> String {
    let is_about = |guard: &&GuardDocument| {
        let is_listed = CALLERS.contains(&caller);
        let is_from = match &guard.from {
            Callers::Any => true,
            Callers::Unknown => !is_listed,
            Callers::Named(names) => names.iter().any(|name| name == caller),
        };
        let template = |call: &CallDocument| match call {
            CallDocument::Http { path, .. } => path.trim_end_matches('/').to_owned(),
            CallDocument::Grpc { .. } | CallDocument::Tcp { .. } => String::new(),
        };
        is_from
            && !guard.except.iter().any(|name| name == caller)
            && (guard.calls.is_empty()
                || guard.calls.iter().any(|call| template(call) == path.trim_end_matches('/')))
            && guard.when.as_ref().is_none_or(|when| *when == env_is("prod"))
    };
    let about = || guards.iter().filter(is_about);
    if let Some(guard) = about().find(|guard| guard.mode == Mode::Enforce) {
        return format!("deny by guard/{}", guard.name);
    }
    match about().next() {
        _ if !CALLERS.contains(&caller) => "deny by default".to_owned(),
        Some(guard) => format!("audit by guard/{}", guard.name),
        None => "audit by default".to_owned(),
    }
}

proptest! {
    #[test]
    fn guards_decide_as_a_scan_over_all_of_them(
        mut guards in prop::collection::vec(any_guard(), 0..8),
    ) {
        for (at, guard) in guards.iter_mut().enumerate() {
            guard.name = format!("g{at}");
        }
        let mut document = open_vault();
        let caller = |name: &&str| CallerDocument { name: (*name).to_owned(), id: None };
        document.callers = CALLERS.iter().map(caller).collect();
        (document.mode, document.guards) = (Mode::Audit, guards);
        document.rules.clear();
        for name in CALLERS.iter().chain(&["stranger"]) {
            for path in PATHS.iter().chain(&["/b/", "/c"]) {
                let expected = scanned(&document.guards, name, path);
                let answer = answer(&document, &format!("prod/{name}"), "GET", path);
                prop_assert_eq!(answer, expected, "{} {}", name, path);
            }
        }
    }
}
