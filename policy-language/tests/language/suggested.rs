//! The suggested change: applied, it allows the call that was asked about, and nothing else.

use std::{cell::Cell, time::UNIX_EPOCH};

use cellwall_policy_language::{Fix, PolicySet, Sources, load};
use proptest::{prop_assert_eq, test_runner::TestCaseError};
use spiffe::SpiffeId;

use crate::{
    example::example,
    oracle::{
        self, Fleet, cases_or,
        naive::Request,
        on_random_documents,
        random::{Asked, Caller, WORKLOADS},
    },
    sample,
};

/// Documents per run, where nobody says otherwise.
const CASES: u32 = 60;
/// Questions about each document.
const QUESTIONS: usize = 24;

fn suggestion(set: &PolicySet, sources: &Sources, call: &str) -> Option<Fix> {
    let explanation = set.explain(call, UNIX_EPOCH).ok()?;
    set.fix(sources, &explanation)
}

/// The documents of the plain example with the change, and its summary.
fn changed(call: &str) -> Option<(String, PolicySet)> {
    let sources = crate::example::folder("plain");
    let fix = suggestion(&example(), &sources, call)?;
    Some((fix.summary.clone(), load(&fix.apply(&sources)).unwrap()))
}

#[test]
fn a_caller_is_added_where_a_rule_opens_this_call_alone() {
    let call = "prod/checkout -> prod/fraud fraud.v1.Fraud/Score";
    let (summary, set) = changed(call).unwrap();
    assert_eq!(summary, "add `checkout` to `from:` of payments-scores");
    assert_eq!(set.explain(call, UNIX_EPOCH).unwrap().by, "payments-scores");
}

#[test]
fn a_rule_that_opens_more_is_left_alone() {
    let call = "prod/checkout -> prod/ledger ledger.v1.Ledger/GetEntry";
    let (summary, set) = changed(call).unwrap();
    assert_eq!(summary, "add the rule `checkout-calls-ledger`");
    let verdict = |call: &str| set.explain(call, UNIX_EPOCH).unwrap().verdict;
    assert_eq!(verdict(call), "allow");
    assert_eq!(verdict("prod/checkout -> prod/ledger ledger.v1.Ledger/ListEntries"), "deny");
}

#[test]
fn what_no_rule_can_allow_has_no_suggestion() {
    for call in [
        "prod/notifier -> prod/card-vault POST /v1/tokens",
        "staging/checkout -> prod/payments POST /v1/payments",
        "prod/checkout -> prod/payments POST /v1/payments",
        "prod/checkout -> prod/ledger POST /v1/payments",
    ] {
        assert!(changed(call).is_none(), "{call}");
    }
}

#[test]
fn a_suggestion_says_where_it_goes_and_shows_with_the_reasons() {
    let sources = crate::example::folder("plain");
    let set = example();
    let call = "prod/fraud -> prod/payments GET /v1/payments/p_1";
    let mut explanation = set.explain(call, UNIX_EPOCH).unwrap();
    explanation.fix = set.fix(&sources, &explanation);
    let text = explanation.to_string();
    let expected = "
  fix      add the rule `fraud-calls-payments`   segments/payments.yaml:33
             - name: fraud-calls-payments
               from: fraud
               to: payments
               allow:
                 - http: GET /v1/payments/{id}
               why: say which business need this serves
           tried: it allows exactly this call";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn a_caller_is_added_to_a_list_and_to_a_name() {
    for from in ["fraud", "[fraud]", "[fraud, payments]"] {
        let base = sample::BASE;
        let names = from.replace("fraud", "web").replace("payments", "db");
        let text = base
            .replace("    from: web\n", &format!("    from: {names}\n"))
            .replace("mode: audit", "mode: enforce");
        let sources = Sources::single(text);
        let fix =
            suggestion(&load(&sources).unwrap(), &sources, "p/rpc -> p/rpc a.v1.A/Get").unwrap();
        assert_eq!((fix.summary.as_str(), fix.line), ("add `rpc` to `from:` of web-reads", 14));
        let line = fix.apply(&sources).files["cellwall.yaml"].lines().nth(13).unwrap().to_owned();
        let expected = match names.strip_prefix('[') {
            Some(rest) => format!("    from: [rpc, {rest}"),
            None => "    from: [web, rpc]".to_owned(),
        };
        assert_eq!(line, expected);
    }
}

#[test]
fn a_rule_is_added_before_the_first_wherever_its_name_stands() {
    let first = "rules:\n  - allow:\n    - {http: \"GET /v1/{x}\"}\n    from: rpc\n\n# odd\n    \
                 to:\n      - web\n    name: r\n    why: w\n";
    let text = sample::bent("rules:\n", first).replace("mode: audit", "mode: enforce");
    let sources = Sources::single(text.clone());
    let set = load(&sources).unwrap();
    let fix = suggestion(&set, &sources, "p/rpc -> p/web POST /v2").unwrap();
    assert_eq!((fix.summary.as_str(), fix.line), ("add the rule `rpc-calls-web`", 13));
    let added = "rules:\n  - name: rpc-calls-web\n    from: rpc\n    to: web\n    allow:\n      - \
                 http: POST /v2\n    why: say which business need this serves\n  - allow:\n";
    let expected = text.replace("rules:\n  - allow:\n", added);
    assert_eq!(fix.apply(&sources).files["cellwall.yaml"], expected);
}

/// The caller, if it is a workload.
fn name(asked: &Asked) -> Option<&'static str> {
    match asked.caller {
        Caller::Workload(at, _) => Some(WORKLOADS[at].0),
        Caller::Id(_) => None,
    }
}

/// A question as people write it; `None` for callers that are no workloads.
fn question(asked: &Asked) -> Option<String> {
    let Caller::Workload(caller, environment) = &asked.caller else { return None };
    let call = match &asked.request {
        Request::Http(method, path) => format!("{method} {path}"),
        Request::Grpc(service, method) => format!("{service}/{method}"),
        Request::Tcp(port) => format!("tcp:{port}"),
    };
    let (caller, callee) = (WORKLOADS[*caller].0, WORKLOADS[asked.callee].0);
    Some(format!("{environment}/{caller} -> {}/{callee} {call}", asked.environment))
}

#[test]
fn applied_it_allows_the_call_and_changes_no_other() {
    let (applied, compared) = (Cell::new(0u32), Cell::new(0u32));
    let cases = cases_or(CASES);
    on_random_documents(cases, QUESTIONS, |set, text, questions| {
        let sources = Sources::single(text);
        let mut asked = questions.iter().filter_map(|it| Some((it, question(it)?)));
        let suggested =
            asked.find_map(|(it, call)| Some((it, suggestion(set, &sources, &call)?, call)));
        let Some((wanted, fix, call)) = suggested else { return Ok(()) };
        let after = fix.apply(&sources);
        let changed = load(&after).map_err(|found| TestCaseError::fail(format!("{found:?}")))?;
        let verdict = changed.explain(&call, UNIX_EPOCH).unwrap().verdict;
        prop_assert_eq!(&verdict, "allow", "{}\n{}", call, after.files["cellwall.yaml"]);
        applied.set(applied.get() + 1);
        let (mut old, mut new) = (Fleet::new(set, text), Fleet::new(&changed, text));
        for other in
            questions.iter().filter(|other| !is_wanted(set, &changed, text, (wanted, other)))
        {
            let caller = id_of_caller(text, other);
            let (before, now) = (old.answer(other, &caller), new.answer(other, &caller));
            prop_assert_eq!(before, now, "{:?}\n{}\n{}", other, call, text);
            compared.set(compared.get() + 1);
        }
        Ok(())
    });
    let (applied, compared) = (applied.get(), compared.get());
    println!(
        "evidence: {{\"policies\": {cases}, \"suggestions\": {applied}, \"other_calls\": {compared}, \
         \"changed\": 0}}"
    );
    assert!(applied * 4 > cases, "{applied} of {cases}");
}

fn id_of_caller(text: &str, asked: &Asked) -> String {
    match &asked.caller {
        Caller::Workload(at, environment) => oracle::id_of(text, *at, environment),
        Caller::Id(id) => id.clone(),
    }
}

/// Whether this is the call that the suggestion is for, in whichever environment.
fn is_wanted(
    set: &PolicySet,
    changed: &PolicySet,
    text: &str,
    (wanted, other): (&Asked, &Asked),
) -> bool {
    let id = SpiffeId::new(id_of_caller(text, other)).unwrap();
    let method = |asked: &Asked| match &asked.request {
        Request::Http(method, _) => method.clone(),
        Request::Grpc(..) | Request::Tcp(_) => String::new(),
    };
    // Whoever asks: which template owns the call.
    let owner = |asked: &Asked| {
        let asked = Asked { caller: wanted.caller.clone(), ..asked.clone() };
        changed.explain(&question(&asked)?, UNIX_EPOCH).ok()?.route
    };
    set.identify(&id).map(|(name, _)| name) == name(wanted)
        && wanted.callee == other.callee
        && method(wanted) == method(other)
        && owner(wanted) == owner(other)
}

/// What is suggested for a call: the summary, and the text.
fn of_sample(text: &str, call: &str) -> Option<(String, String)> {
    let fix = suggestion(&sample::set(text), &Sources::single(text), call)?;
    Some((fix.summary, fix.text))
}

#[test]
fn a_rule_is_widened_only_if_it_opens_this_call_alone_and_everywhere() {
    let rule = |from: &str, more: &str| {
        let rule = format!(
            "  - name: one\n    from: {from}\n    to: web\n    allow: [{{http: GET /one}}]\n    why: w\n{more}"
        );
        sample::BASE.replacen("guards:\n", &format!("{rule}guards:\n"), 1)
    };
    let call = "prod/db -> prod/web GET /one";
    let widened = Some(("add `db` to `from:` of one".to_owned(), "db".to_owned()));
    assert_eq!(of_sample(&rule("rpc", ""), call), widened);
    assert_eq!(of_sample(&rule("[rpc, web]", ""), call), widened);
    assert_eq!(of_sample(&rule("segment/front", ""), call), widened);
    for (from, more) in [
        ("rpc", "    when: caller.env == \"prod\"\n"),
        ("rpc", "    across: [env]\n"),
        ("\"rpc\"", ""),
        ("{tier: core}", ""),
        ("\n      - rpc", ""),
    ] {
        let (summary, _) = of_sample(&rule(from, more), call).unwrap();
        assert_eq!(summary, "add the rule `db-calls-web`", "{from} {more}");
    }
}

#[test]
fn a_caller_of_a_port_is_added_to_its_rule() {
    let text = sample::bent("    except: [rpc]\n", "    except: [rpc, web]\n");
    let (summary, _) = of_sample(&text, "prod/web -> prod/db tcp:5432").unwrap();
    assert_eq!(summary, "add `web` to `from:` of rpc-stores");
}

#[test]
fn a_rule_between_workloads_of_long_names_has_a_name_that_is_not_too_long() {
    let (caller, callee) = ("a".repeat(63), "b".repeat(63));
    let text = sample::BASE
        .replacen("workloads:\n", &format!("workloads:\n  {caller}: {{listens: {{http: 1}}}}\n  {callee}: {{listens: {{http: 1}}}}\n"), 1)
        .replacen("members: [web]", &format!("members: [web, {caller}, {callee}]"), 1);
    let text = text.replacen("rules:\n", &format!("rules:\n  - {{name: look, from: {callee}, to: {caller}, allow: [{{http: GET /}}], why: w}}\n"), 1);
    let (summary, _) = of_sample(&text, &format!("prod/{caller} -> prod/{callee} GET /")).unwrap();
    assert_eq!(summary, format!("add the rule `{}`", &caller[..59]));
}
