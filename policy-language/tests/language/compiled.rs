//! What is compiled for a callee, and who an ID is.

use std::time::{Duration, UNIX_EPOCH};

use cellwall_policy::{
    CallDocument, CallerDocument, Callers, Condition, DestinationDocument, Digest, GuardDocument,
    HttpVersion, IdentityHeader, ListensDocument, Mode, Operand, PolicyVersion, Protocol,
    Publication, Snapshot, SnapshotDocument, TlsFact, Tolerated,
};
use cellwall_policy_language::{CompileError, PolicySet};
use spiffe::SpiffeId;

use crate::{
    example::example,
    sample::{BASE, bent, checked, lines, set},
};

fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

fn compile(set: &PolicySet, callee: &str, destinations: &[&str]) -> SnapshotDocument {
    let destinations: Vec<_> = destinations.iter().map(|&name| name.to_owned()).collect();
    let issued_at = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    set.compile(&id(callee), &destinations, &published(), issued_at).unwrap()
}

fn published() -> Publication {
    Publication { epoch: 2, version: PolicyVersion(7), digest: Digest::of(b"documents") }
}

fn caller(name: &str, id: Option<&str>) -> CallerDocument {
    CallerDocument { name: name.to_owned(), id: id.map(str::to_owned) }
}

#[test]
fn a_workload_is_told_who_calls_as_the_documents_say() {
    let told =
        |text: &str| compile(&set(text), "spiffe://pay.example/prod/web", &[]).identity_headers;
    assert_eq!(told(BASE), IdentityHeader::USUAL);
    for (list, expected) in [
        ("[x-spiffe-id]", &IdentityHeader::ALL[..1]),
        ("[x-forwarded-client-cert]", &IdentityHeader::ALL[1..]),
        ("[x-forwarded-client-cert, x-spiffe-id]", &IdentityHeader::ALL),
    ] {
        let listens = format!("listens: {{http: 8443}}, identity_header: {list}");
        assert_eq!(told(&bent("listens: {http: 8443}", &listens)), expected, "{list}");
    }
}

#[test]
fn a_callee_gets_what_it_needs_and_nothing_else() {
    // POL-04
    let vault = compile(&example(), "spiffe://pay.example/prod/card-vault", &[]);
    assert_eq!(vault.max_age_seconds, 86_400);
    assert_eq!(vault.callers, [caller("checkout", None), caller("payments", None)]);
    let rules: Vec<_> = vault.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(rules, ["checkout-tokenises", "payments-charges-token"]);
    assert_eq!(
        vault.guards,
        [GuardDocument {
            name: "vault-callers".to_owned(),
            from: Callers::Any,
            except: vec!["checkout".to_owned(), "payments".to_owned()],
            calls: Vec::new(),
            when: None,
            mode: Mode::Enforce,
        }]
    );
    assert_eq!((vault.issued_at, vault.mode), (1_790_000_000, Mode::Enforce));
    assert_eq!(*Snapshot::new(vault).unwrap().publication(), published()); // POL-02
    let ledger = compile(&example(), "spiffe://pay.example/staging/ledger", &[]);
    assert_eq!(ledger.callers, [caller("payments", None), caller("fraud", None)]);
    assert_eq!(ledger.guards, []);
    assert_eq!(ledger.callee, "spiffe://pay.example/staging/ledger");
}

#[test]
fn any_and_audit_list_all_workloads_with_their_ids() {
    let all = [caller("web", None), caller("rpc", None), caller("db", Some("/{env}/vm/db"))];
    for callee in ["web", "rpc", "vm/db"] {
        let document = compile(&set(BASE), &format!("spiffe://pay.example/prod/{callee}"), &[]);
        assert_eq!(document.callers, all, "{callee}");
        Snapshot::new(document).unwrap();
    }
    let quiet = bent("mode: audit", "mode: enforce").replace("from: any\n", "from: rpc\n");
    let web = compile(&set(&quiet), "spiffe://pay.example/prod/web", &[]);
    assert_eq!(web.callers, [caller("rpc", None)]);
}

#[test]
fn destinations_are_of_the_own_environment_unless_they_name_another() {
    let asked = ["rpc", "staging/db", "rpc", "nobody", "a/b/rpc", "Prod/rpc", "cellwall/rpc", ""];
    let document = compile(&set(BASE), "spiffe://pay.example/prod/web", &asked);
    let destination = |name: &str, id: &str, protocol| DestinationDocument {
        name: name.to_owned(),
        id: id.to_owned(),
        protocol,
        tolerates: Tolerated::Nothing,
        idempotent: Vec::new(),
    };
    assert_eq!(
        document.destinations,
        [
            destination("rpc", "spiffe://pay.example/prod/rpc", Protocol::Grpc),
            destination("staging/db", "spiffe://pay.example/staging/vm/db", Protocol::Tcp),
        ]
    );
    Snapshot::new(document).unwrap();
}

/// What a caller is told of the calls of `web` and `rpc`, as `METHODS PATH by WHAT`.
fn told(text: &str, destination: &str) -> Vec<String> {
    let document = compile(&set(text), "spiffe://pay.example/prod/web", &[destination]);
    Snapshot::new(document.clone()).unwrap();
    let declared = document.destinations[0].idempotent.iter().map(|it| {
        let call = match &it.call {
            CallDocument::Http { methods, path } => format!("{} {path}", methods.join(",")),
            CallDocument::Grpc { service, method } => format!("{service}/{method}"),
            CallDocument::Tcp { port } => port.to_string(),
        };
        format!("{call} {:?}", it.by)
    });
    declared.collect()
}

#[test]
fn a_caller_is_told_which_calls_may_be_made_twice_and_what_takes_some_of_their_requests() {
    let calls = "
      - {http: \"GET,DELETE /v1/{rest...}\", idempotent: method}
      - {http: POST /v1/things, idempotent: {header: Idempotency-Key}}
      - {http: GET /v1/next}
      - {http: PUT /v1/mine}
      - {http: GET /v2}";
    let text = bent("\n      - http: GET /v1/things/{id}", calls);
    let expected =
        ["GET /v1/next None", "POST /v1/things Some(Key)", "GET,DELETE /v1/{rest...} Some(Method)"];
    let mut found = told(&text, "web");
    found.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
    let found: Vec<_> = found.iter().map(|line| line.replace("DELETE,GET", "GET,DELETE")).collect();
    assert_eq!(found, expected);

    let key = "{header: Idempotency-Key}";
    let can =
        format!("[{{grpc: a.v1.A/*, idempotent: {key}}}, {{grpc: a.v1.A/Get}}, {{grpc: b.B/X}}]");
    let text = bent("[{grpc: a.v1.A/Get}]", &can);
    assert_eq!(told(&text, "rpc"), ["a.v1.A/* Some(Key)", "a.v1.A/Get None"]);
    assert_eq!(told(BASE, "web"), Vec::<String>::new());
    assert_eq!(told(BASE, "rpc"), Vec::<String>::new());
}

#[test]
fn what_a_call_may_go_on_in_stands_beside_its_methods() {
    let call = "{http: \"GET,PUT /v1/{id}\", upgrade: [websocket, x.chat], idempotent: method}";
    let text = bent("http: GET /v1/things/{id}", call);
    let policy = set(&text);
    let document = compile(&policy, "spiffe://pay.example/prod/web", &["web"]);
    let methods = |document: &CallDocument| match document {
        CallDocument::Http { methods, .. } => methods.join(" "),
        CallDocument::Grpc { .. } | CallDocument::Tcp { .. } => String::new(),
    };
    assert_eq!(methods(&document.rules[0].calls[0]), "GET PUT GET+websocket GET+x.chat");
    // Nobody is told to make again what goes on in another protocol.
    assert_eq!(methods(&document.destinations[0].idempotent[0].call), "GET PUT");
    Snapshot::new(document).unwrap();
    let verdict = |call: &str| {
        let question = format!("prod/rpc -> prod/web {call}");
        let explained = policy.explain(&question, UNIX_EPOCH).unwrap();
        format!("{} by {}", explained.verdict, explained.by)
    };
    assert_eq!(verdict("GET /v1/a"), "allow by all-look");
    assert_eq!(verdict("GET+websocket /v1/a"), "allow by all-look");
    assert_eq!(verdict("GET+other /v1/a"), "deny by default");
    assert!(policy.explain("prod/rpc -> prod/web GET+h2c /v1/a", UNIX_EPOCH).is_err());
}

#[test]
fn a_listener_for_http_2_is_one_for_http() {
    let document = compile(&set(BASE), "spiffe://pay.example/prod/web", &[]);
    assert_eq!(document.listens, [ListensDocument::of(Protocol::Http, 8443)]);
    let text = bent("{http: 8443}", "[{http2: 8443}, {http: 8444}]");
    let document = compile(&set(&text), "spiffe://pay.example/prod/web", &["web:8443"]);
    let http2 = ListensDocument {
        version: HttpVersion::Http2,
        ..ListensDocument::of(Protocol::Http, 8443)
    };
    assert_eq!(document.listens, [http2, ListensDocument::of(Protocol::Http, 8444)]);
    assert_eq!(document.destinations[0].protocol, Protocol::Http);
    Snapshot::new(document).unwrap();
}

#[test]
fn a_destination_of_several_listeners_is_named_with_its_port() {
    let two = bent("{tcp: 5432},", "[{tcp: 5432}, {http: 9187}],");
    let asked = ["db", "db:1", "db:5432", "db:9187", "rpc:9443", "rpc:5432"];
    let document = compile(&set(&two), "spiffe://pay.example/prod/web", &asked);
    let found: Vec<_> =
        document.destinations.iter().map(|it| (it.name.as_str(), it.protocol)).collect();
    let expected =
        [("db:5432", Protocol::Tcp), ("db:9187", Protocol::Http), ("rpc:9443", Protocol::Grpc)];
    assert_eq!(found, expected);
}

#[test]
fn a_callee_gets_of_a_guard_only_the_calls_that_can_come_to_it() {
    let text = bent(
        "    deny: any -> db\n    except: [rpc]\n",
        "    deny: web -> any\n    calls: [{http: DELETE /x}, {tcp: 5432}, {tcp: 1}]\n",
    )
    .replace("{http: 8443}", "[{http: 8443}, {tcp: 5432}]")
    .replace("listens: {tcp: 5432}", "listens: [{tcp: 5432}, {tcp: 1}]");
    let set = set(&text);
    let guarded = |callee: &str| {
        let document = compile(&set, &format!("spiffe://pay.example/prod/{callee}"), &[]);
        document.guards.into_iter().map(|guard| guard.calls).collect::<Vec<_>>()
    };
    let delete = CallDocument::Http { methods: vec!["DELETE".to_owned()], path: "/x".to_owned() };
    let tcp = |port| CallDocument::Tcp { port };
    assert_eq!(guarded("web"), [vec![delete, tcp(5432)]]);
    assert_eq!(guarded("rpc"), Vec::<Vec<_>>::new());
    assert_eq!(guarded("vm/db"), [vec![tcp(5432), tcp(1)]]);
}

/// The rules of `rpc` in an environment, each with its callers and what is left of its condition.
fn conditional(change: &str, environment: &str) -> Vec<(Callers, Option<Condition>)> {
    let set = checked(&bent("    from: web\n", change)).set.unwrap();
    let rpc = compile(&set, &format!("spiffe://pay.example/{environment}/rpc"), &[]);
    rpc.rules.into_iter().map(|rule| (rule.from, rule.when)).collect()
}

#[test]
fn a_condition_keeps_of_a_caller_only_what_shows_with_the_call() {
    let named = |name: &str| Callers::Named(vec![name.to_owned()]);
    let equal = |one, text: &str| Condition::Equal(one, Operand::Text(text.to_owned()));
    let group = || equal(Operand::Tls(TlsFact::Group), "X25519");
    let foreign = "spiffe://b.example/x";
    let all = |when: &str| format!("    from: [web, \"{foreign}\"]\n    across: [env]\n{when}");
    for (change, environment, expected) in [
        // Without `across` both sides are in one environment, so this is known.
        ("    from: web\n    when: caller.env == 'prod'\n", "prod", vec![(named("web"), None)]),
        (
            "    from: web\n    when: caller.env == 'prod'\n",
            "eu",
            vec![(Callers::Named(Vec::new()), None)],
        ),
        (
            "    from: web\n    across: [env]\n    when: caller.env == 'eu'\n",
            "prod",
            vec![(named("web"), Some(equal(Operand::Caller("env".to_owned()), "eu")))],
        ),
        // Nobody is told apart by what does not differ by caller.
        (
            "    from: any\n    when: tls.group == 'X25519'\n",
            "prod",
            vec![(Callers::Any, Some(group()))],
        ),
        (
            "    from: [web, db]\n    when: caller.tier == 'edge'\n",
            "prod",
            vec![(named("web"), None)],
        ),
        // One of another trust domain has its ID, and what the connection says.
        (
            &all("    when: tls.group == 'X25519'\n"),
            "prod",
            vec![(named("web"), Some(group())), (named(foreign), Some(group()))],
        ),
        (
            &all("    when: caller.tier == 'edge' || tls.group == 'X25519'\n"),
            "prod",
            vec![
                (named("web"), None),
                (named(foreign), Some(Condition::Some(vec![Condition::Absent, group()]))),
            ],
        ),
    ] {
        assert_eq!(conditional(change, environment), expected, "{change}");
    }
}

#[test]
fn a_set_says_what_it_holds() {
    let limited = bent("identity:", "limits: {svid_ttl: 90m}\nidentity:");
    let set = set(&limited);
    assert_eq!(set.svid_ttl(), Some(Duration::from_secs(5400)));
    assert_eq!(crate::sample::set(BASE).svid_ttl(), None);
    assert_eq!(set.rule_names().collect::<Vec<_>>(), ["web-reads", "rpc-stores", "all-look"]);
    let segments = ["web", "db", "nobody"].map(|workload| set.segment_of(workload));
    assert_eq!(segments, [Some(("front", "enforce")), Some(("back", "audit")), None]);
}

#[test]
fn an_id_that_no_workload_has_has_no_policy() {
    let set = set(BASE);
    for text in [
        "spiffe://pay.example/prod/nobody",
        "spiffe://pay.example/prod/db",
        "spiffe://pay.example/prod/vm/web",
        "spiffe://pay.example/prod",
        "spiffe://pay.example/cellwall/control-plane",
        "spiffe://pay.example/cellwall/web",
        "spiffe://other.example/prod/web",
    ] {
        let refused = set.compile(&id(text), &[], &published(), UNIX_EPOCH);
        assert!(matches!(refused, Err(CompileError::UnknownCallee(_))), "{text}");
        assert_eq!(set.identify(&id(text)), None, "{text}");
    }
    let known = set.identify(&id("spiffe://pay.example/staging/vm/db"));
    assert_eq!(known, Some(("db", "staging".to_owned())));
    assert_eq!(set.trust_domain().as_str(), "pay.example");
    assert_eq!(set.workloads().collect::<Vec<_>>(), ["web", "rpc", "db"]);
}

#[test]
fn an_entry_is_workload_environment_and_selectors() {
    let text = bent(
        "[\"unix:uid:1001\"]",
        "[\"unix:path:/opt/web\", \"unix:gid:7\"], eu: [\"unix:uid:5\"]",
    );
    let entries = serde_json::to_value(set(&text).entries()).unwrap();
    assert_eq!(
        entries,
        serde_json::json!([
            {
                "workload": "web",
                "environment": "prod",
                "id": "spiffe://pay.example/prod/web",
                "selectors": ["unix:gid:7", "unix:path:/opt/web"],
            },
            {
                "workload": "web",
                "environment": "eu",
                "id": "spiffe://pay.example/eu/web",
                "selectors": ["unix:uid:5"],
            },
        ])
    );
}

#[test]
fn no_way_of_writing_yields_an_id_below_cellwall() {
    let flat = "spiffe://pay.example/{workload}";
    let template = "spiffe://pay.example/{env}/{workload}";
    let without_env = |text: &str| {
        text.replace(template, flat)
            .replace("{prod: [", "{\"\": [")
            .replace("\"/{env}/vm/db\"", "\"/vm/db\"")
            .replace("prod/web -> prod/rpc", "web -> rpc")
    };
    assert_eq!(lines(&checked(&without_env(BASE))), Vec::<String>::new());
    for text in [
        BASE.replace(template, "spiffe://pay.example/cellwall/{env}/{workload}"),
        BASE.replace("{prod: [", "{cellwall: ["),
        BASE.replace("prod/web -> prod/rpc", "cellwall/web -> prod/rpc"),
        BASE.replace("prod/web -> prod/rpc", "prod/web -> cellwall/rpc"),
        without_env(BASE).replace("\"/vm/db\"", "\"/cellwall/control-plane\""),
        without_env(BASE).replace("\"/vm/db\"", "\"/cellwall\""),
        without_env(BASE).replace("  web:", "  cellwall:"),
    ] {
        let found = lines(&checked(&text));
        assert!(found.iter().any(|line| line.starts_with("CW0109 ")), "{found:?}");
    }
    let document = set(BASE).explain("cellwall/web -> prod/rpc a.v1.A/Get", UNIX_EPOCH);
    assert!(document.is_err());
}
