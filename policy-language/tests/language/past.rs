//! Why a call was decided as it was, from what is recorded of it.

use std::time::UNIX_EPOCH;

use cellwall_policy_language::{DecidedCall, PastCall};

use crate::{example::example, sample};

fn id(path: &str) -> String {
    format!("spiffe://pay.example{path}")
}

fn http(method: &str, route: Option<&str>) -> DecidedCall {
    DecidedCall::Http { method: method.to_owned(), route: route.map(str::to_owned) }
}

fn past(caller: &str, callee: &str, call: DecidedCall) -> PastCall {
    PastCall { caller: id(caller), callee: id(callee), call, at: UNIX_EPOCH }
}

/// Verdict, what decided, and the nearest rule.
fn explained(past: &PastCall) -> (String, String, Option<String>) {
    let explanation = example().explain_past(past).unwrap();
    let nearest = explanation.rules.into_iter().find(|rule| rule.nearest);
    (explanation.verdict, explanation.by, nearest.map(|rule| rule.name))
}

#[test]
fn a_recorded_call_has_the_reasons_of_the_same_question() {
    let call = DecidedCall::Grpc("ledger.v1.Ledger/Post".to_owned());
    let past = past("/prod/fraud", "/prod/ledger", call);
    let asked =
        example().explain("prod/fraud -> prod/ledger ledger.v1.Ledger/Post", UNIX_EPOCH).unwrap();
    assert_eq!(example().explain_past(&past).unwrap(), asked);
    let (verdict, by, nearest) = explained(&past);
    assert_eq!((verdict.as_str(), by.as_str()), ("deny", "default"));
    assert_eq!(nearest.as_deref(), Some("payments-posts"));
}

#[test]
fn a_template_stands_for_the_path_that_is_not_recorded() {
    let charge = http("POST", Some("/v1/tokens/{token}/charge"));
    let (verdict, by, _) = explained(&past("/prod/payments", "/prod/card-vault", charge));
    assert_eq!((verdict.as_str(), by.as_str()), ("allow", "payments-charges-token"));
    let charge = http("POST", Some("/v1/tokens/{token}/charge"));
    let (verdict, by, nearest) = explained(&past("/prod/checkout", "/prod/card-vault", charge));
    assert_eq!((verdict.as_str(), by.as_str()), ("deny", "default"));
    assert_eq!(nearest.as_deref(), Some("payments-charges-token"));
}

#[test]
fn a_path_that_no_template_matched_fits_no_rule() {
    let set = example();
    let past = past("/prod/checkout", "/prod/card-vault", http("DELETE", None));
    let explanation = set.explain_past(&past).unwrap();
    assert_eq!((explanation.verdict.as_str(), explanation.by.as_str()), ("deny", "default"));
    assert_eq!(explanation.route, None);
    assert_eq!(explanation.call, "DELETE, on a path that no template with this method matches");
    assert!(explanation.rules.iter().all(|rule| !rule.applies), "{:?}", explanation.rules);
    let tokens = explanation.rules.iter().find(|rule| rule.name == "checkout-tokenises").unwrap();
    assert_eq!((tokens.because.as_str(), tokens.nearest), ("call is not POST /v1/tokens", true));
}

#[test]
fn where_every_path_of_a_method_matches_the_record_says_too_little() {
    let everything =
        "      - http: GET /v1/things/{id}\n      - http: GET /\n      - http: GET /{rest...}\n";
    let set = sample::set(&sample::bent("      - http: GET /v1/things/{id}\n", everything));
    let past = past("/prod/rpc", "/prod/web", http("GET", None));
    let error = set.explain_past(&past).unwrap_err().to_string();
    let expected =
        "the path was not recorded, and by it this policy may decide in one way or another";
    assert_eq!(error, expected);
    assert_eq!(
        set.explain_past(&PastCall { call: http("POST", None), ..past }).unwrap().by,
        "default"
    );
}

#[test]
fn a_caller_that_the_policy_does_not_know_is_nobody_and_no_exception() {
    // AZ-02
    let (verdict, by, _) =
        explained(&past("/prod/stranger", "/prod/card-vault", http("POST", Some("/v1/tokens"))));
    assert_eq!((verdict.as_str(), by.as_str()), ("deny", "guard/vault-callers"));
    let tokens = past("/prod/stranger", "/prod/card-vault", http("POST", Some("/v1/tokens")));
    let guard = &example().explain_past(&tokens).unwrap().guards[0];
    assert_eq!((guard.applies, guard.because.as_str()), (true, "denies any -> card-vault"));
    let past = past("/prod/stranger", "/prod/vm/ledger-db", DecidedCall::Tcp(None));
    let explanation = example().explain_past(&past).unwrap();
    assert_eq!((explanation.by.as_str(), explanation.caller.workload.as_str()), ("default", ""));
    assert_eq!(explanation.caller.environment, "prod");
    let shown = explanation.to_string();
    let line = "  caller   not in the policy      spiffe://pay.example/prod/stranger\n";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn any_in_a_rule_is_every_workload_of_the_policy_and_nobody_else() {
    let set = sample::set(sample::BASE);
    let thing = || http("GET", Some("/v1/things/{id}"));
    let explain = |caller: &str| set.explain_past(&past(caller, "/prod/web", thing())).unwrap();
    assert_eq!(explain("/prod/rpc").by, "all-look");
    assert_eq!(
        (explain("/prod/stranger").by.as_str(), explain("/prod/stranger").rules[0].applies),
        ("default", false)
    );
    assert_eq!(explain("/staging/rpc").by, "boundary/env");
}

#[test]
fn what_cannot_be_explained_says_why() {
    let error = |past: &PastCall| example().explain_past(past).unwrap_err().to_string();
    let nowhere = past("/prod/fraud", "/prod/nowhere", DecidedCall::Tcp(None));
    assert_eq!(error(&nowhere), "cannot be asked");
    let other = past("/prod/fraud", "/prod/ledger", DecidedCall::Tcp(None));
    assert_eq!(error(&other), "`ledger` does not speak tcp in this policy");
    let strange = past("/prod/fraud", "/prod/ledger", DecidedCall::Grpc("x".to_owned()));
    assert_eq!(error(&strange), "not `pkg.Service/Method`: no rule can name it");
    let nobody = PastCall { caller: "SPIFFE://x/".to_owned(), ..other };
    assert_eq!(error(&nobody), "`SPIFFE://x/` is no ID");
}

#[test]
fn another_policy_says_nothing_of_a_path_that_it_may_name() {
    let set = example();
    let unknown = |caller: &str, method: &str| {
        set.explain_past_anew(&past(caller, "/prod/card-vault", http(method, None)))
    };
    let error = unknown("/prod/checkout", "POST").unwrap_err().to_string();
    assert!(error.starts_with("the path was not recorded"), "{error}");
    // No path of this method is named, and a guard asks for none.
    assert_eq!(unknown("/prod/checkout", "DELETE").unwrap().by, "default");
    assert_eq!(unknown("/prod/notifier", "POST").unwrap().by, "guard/vault-callers");
    let named = past("/prod/checkout", "/prod/card-vault", http("POST", Some("/v1/tokens")));
    assert_eq!(set.explain_past_anew(&named).unwrap().by, "checkout-tokenises");
}

#[test]
fn another_policy_says_nothing_of_a_path_that_a_guard_may_name() {
    let guard =
        "guards:\n  - {name: g, deny: any -> web, calls: [{http: \"DELETE,GET /v1\"}], why: w}\n";
    let set = sample::set(&sample::BASE.replacen("guards:\n", guard, 1));
    let unknown = |caller: &str, method: &str| {
        let past = past(caller, "/prod/web", http(method, None));
        set.explain_past_anew(&past).map(|it| it.by).map_err(|error| error.to_string())
    };
    // A guard of a request is one of what that asks to go on in.
    for method in ["DELETE", "GET+websocket"] {
        for caller in ["/prod/rpc", "/staging/rpc"] {
            let error = unknown(caller, method).unwrap_err();
            assert!(error.starts_with("the path was not recorded"), "{error}");
        }
    }
    assert_eq!(unknown("/staging/rpc", "PATCH").unwrap(), "boundary/env");
}

#[test]
fn a_guard_of_every_path_decides_whatever_else_a_guard_may_name() {
    let guards = "guards:\n  - {name: all, deny: rpc -> web, why: w}\n  \
                  - {name: one, deny: any -> web, calls: [{http: DELETE /v1}], why: w}\n";
    let set = sample::set(&sample::BASE.replacen("guards:\n", guards, 1));
    let past = past("/prod/rpc", "/prod/web", http("DELETE", None));
    assert_eq!(set.explain_past_anew(&past).unwrap().by, "guard/all");
}

#[test]
fn a_connection_without_a_port_is_one_to_the_port_that_there_is() {
    let text = sample::bent("db: {listens: {tcp: 5432}", "db: {listens: [{http: 1}, {tcp: 5432}]");
    let past = past("/prod/rpc", "/prod/vm/db", DecidedCall::Tcp(None));
    assert_eq!(sample::set(&text).explain_past(&past).unwrap().by, "rpc-stores");
}

#[test]
fn what_is_no_name_of_a_method_of_grpc_is_named_by_no_rule() {
    for call in ["a.v1.A", "/Get", "a.v1.A/", "a v1/Get", "a.v1.A/G et", "a.v1.A/Get.All"] {
        let past = past("/prod/fraud", "/prod/ledger", DecidedCall::Grpc(call.to_owned()));
        let error = example().explain_past(&past).unwrap_err().to_string();
        assert_eq!(error, "not `pkg.Service/Method`: no rule can name it", "{call}");
    }
}
