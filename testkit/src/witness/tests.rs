use super::*;

const ROOT_TEXT: &str = r#"
version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
include: [segments/*.yaml]
guards:
  - name: vault-callers
    deny: any -> card-vault
    except: [checkout, payments]
    why: PAN is reachable from two workloads only
  - name: comms-stay-out
    deny: "segment/comms -> {tier: core}"
    why: they only listen
"#;

const PAYMENTS_TEXT: &str = r#"
version: cellwall/v1
workloads:
  checkout:   {listens: {http: 8443}, labels: {tier: edge}, attest: {prod: ["unix:uid:7"]}}
  payments:   {listens: {http: 8443}, labels: {tier: core}}
  ledger:     {listens: {grpc: 9443}, labels: {tier: core}}
  ledger-db:  {listens: {tcp: 5432},  labels: {tier: data}, id: "/{env}/vm/ledger-db"}
  card-vault: {listens: {http: 8443}, labels: {tier: data, pci: cde}}
  notifier:   {listens: {http: 8443}, labels: {tier: edge}}
segments:
  edge:  {members: [checkout], mode: enforce}
  core:  {members: [payments, ledger, ledger-db], mode: enforce}
  cde:   {members: [card-vault], mode: enforce}
  comms: {members: [notifier], mode: audit}
roles:
  ledger-reader:
    to: ledger
    can:
      - grpc: ledger.v1.Ledger/GetEntry
      - grpc: audit.v1.Trail/*
rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow:
      - http: POST /v1/payments
      - http: GET,HEAD /v1/payments/{id}
    why: customers pay
  - name: checkout-tokenises
    from: checkout
    to: card-vault
    allow: [{http: POST /v1/tokens}, {http: "GET /v1/tokens/{token}"}, {http: "GET /v1/files/{name%2F}"}, {http: "GET /v1/trees/{rest%2F...}"}]
    why: w
  - name: payments-exports
    from: payments
    to: card-vault
    allow: [{http: GET /v1/tokens/export}, {http: "GET /v1/trees/{id}/keys"}]
    why: w
  - name: anybody-asks-the-vault
    from: any
    to: card-vault
    allow: [{http: GET /v1/keys}]
    why: w
  - name: checkout-listens
    from: checkout
    to: notifier
    allow: [{http: GET /v1/news, upgrade: websocket}, {http: "GET /v1/{x%2F}", upgrade: [a, b]}]
    why: w
  - name: payments-looks
    from: payments
    to: notifier
    allow: [{http: GET /v1/news}, {http: GET /v1/old}]
    why: w
  - name: readers
    from: [payments, segment/edge]
    role: ledger-reader
    why: w
  - name: core-stores
    from: {tier: core}
    to: ledger-db
    allow: [{tcp: 5432}]
    why: w
  - name: payments-erases
    from: payments
    to: ledger
    allow: [{grpc: audit.v1.Trail/Erase}]
    why: w
  - name: notifier-posts
    from: notifier
    to: ledger
    allow: [{grpc: ledger.v1.Ledger/GetEntry}]
    why: w
tests:
  - {expect: allow, call: prod/checkout -> prod/payments POST /v1/payments}
"#;

fn witness() -> Witness {
    let files = [(ROOT, ROOT_TEXT), ("segments/payments.yaml", PAYMENTS_TEXT)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    Witness::from_files(&files.into()).unwrap()
}

/// `ENV/WORKLOAD`, the callers' IDs without the trust domain, and what was seen.
fn record(callee: &str, callers: &[&str], saw: Saw) -> Record {
    let (environment, workload) = callee.split_once('/').unwrap();
    Record {
        ts: "2026-03-02T10:14:07Z".to_owned(),
        workload: workload.to_owned(),
        environment: environment.to_owned(),
        caller: callers.iter().map(|path| format!("spiffe://pay.example{path}")).collect(),
        connection: 0,
        saw,
    }
}

/// `METHOD /path`, `pkg.Service/Method`, or `HELLO ...` of a TCP connection.
fn saw(call: &str) -> Saw {
    if let Some(claim) = call.strip_prefix("HELLO ") {
        let (hello, verb) = (Some(claim.to_owned()), "POST".to_owned());
        return Saw::Tcp { hello, verb, bytes: 9 };
    }
    match call.split_once(' ') {
        Some((method, path)) => Saw::Http { method: method.to_owned(), path: path.to_owned() },
        None => {
            let (service, method) = call.split_once('/').unwrap();
            Saw::Grpc { service: service.to_owned(), method: method.to_owned() }
        }
    }
}

fn judged(callee: &str, caller: &str, call: &str) -> Judgement {
    let callers: &[&str] = if caller.is_empty() { &[] } else { &[caller] };
    witness().judge(&record(callee, callers, saw(call)))
}

#[test]
fn an_encoded_slash_passes_where_a_template_says_so_and_nowhere_else() {
    let denied = |callee, caller, call| {
        let judged = judged(callee, caller, call);
        assert!(matches!(judged, Judgement::Denied(_)), "{call}: {judged:?}");
    };
    let allowed = judged("prod/card-vault", "/prod/checkout", "GET /v1/files/a%2Fb");
    assert_eq!(allowed, Judgement::Allowed("checkout-tokenises".into()));
    denied("prod/card-vault", "/prod/checkout", "GET /v1/tokens/a%2Fb");
    // What a wider template takes, and the closest one of somebody else does not.
    let own = judged("prod/card-vault", "/prod/checkout", "GET /v1/trees/a%2Fb/others");
    assert_eq!(own, Judgement::Allowed("checkout-tokenises".into()));
    denied("prod/card-vault", "/prod/checkout", "GET /v1/trees/a/keys");
    denied("prod/card-vault", "/prod/checkout", "GET /v1/trees/a%2Fb/keys");
    denied("prod/card-vault", "/prod/payments", "GET /v1/trees/a%2Fb/keys");
    denied("prod/card-vault", "/prod/checkout", "GET /v1/files/a%2F..");
    denied("prod/card-vault", "/prod/checkout", "GET /v1/files/a/b");
    denied("prod/payments", "/prod/checkout", "GET /v1/payments/a%2Fb");
    // Nor does audit open one.
    assert_eq!(judged("prod/notifier", "/prod/checkout", "GET /a"), Judgement::Audited);
    denied("prod/notifier", "/prod/checkout", "GET /a%2Fb");
}

#[test]
fn what_a_rule_names_is_allowed_by_it() {
    let check = |callee, caller, call, rule: &str| {
        assert_eq!(judged(callee, caller, call), Judgement::Allowed(rule.into()), "{call}");
    };
    check("prod/payments", "/prod/checkout", "POST /v1/payments", "checkout-pays");
    check("prod/payments", "/prod/checkout", "HEAD /v1/payments/p_1", "checkout-pays");
    check("staging/payments", "/staging/checkout", "POST /v1/payments", "checkout-pays");
    check("prod/ledger", "/prod/payments", "ledger.v1.Ledger/GetEntry", "readers");
    check("prod/ledger", "/prod/checkout", "audit.v1.Trail/Anything", "readers");
    check("prod/ledger", "/prod/payments", "audit.v1.Trail/Erase", "payments-erases");
    check("prod/ledger-db", "", "HELLO prod/ledger", "core-stores");
    check("prod/card-vault", "/prod/checkout", "GET /v1/tokens/t_1", "checkout-tokenises");
    check("prod/card-vault", "/prod/payments", "GET /v1/tokens/export", "payments-exports");
    check("prod/card-vault", "/prod/payments", "GET /v1/keys", "anybody-asks-the-vault");
}

#[test]
fn an_upgrade_is_of_the_rule_that_names_it() {
    let check = |caller, call, expected: Judgement| {
        assert_eq!(judged("prod/notifier", caller, call), expected, "{caller} {call}");
    };
    let allowed = |rule: &str| Judgement::Allowed(rule.to_owned());
    let denied = || Judgement::Denied("default".to_owned());
    check("/prod/checkout", "GET+websocket /v1/news", allowed("checkout-listens"));
    check("/prod/checkout", "GET+b /v1/x", allowed("checkout-listens"));
    check("/prod/checkout", "GET+b /v1/x%2Fy", allowed("checkout-listens"));
    check("/prod/checkout", "GET+websocket /v1/x", denied());
    check("/prod/checkout", "GET+websocket /v1/x%2Fy", denied());
    check("/prod/payments", "GET /v1/news", allowed("payments-looks"));
    // In audit, too, and where a wider template names it.
    check("/prod/payments", "GET+websocket /v1/news", denied());
    check("/prod/checkout", "GET+a /v1/old", denied());
    check("/prod/checkout", "GET /v2", Judgement::Audited);
    check("/prod/checkout", "GET+websocket /v2", denied());
}

#[test]
fn what_no_rule_names_is_denied_for_its_reason() {
    let check = |callee, caller, call, reason: &str| {
        let expected = Judgement::Denied(reason.to_owned());
        assert_eq!(judged(callee, caller, call), expected, "{caller} {call}");
    };
    check("prod/payments", "/prod/checkout", "DELETE /v1/payments/p_1", "default");
    check("prod/payments", "/prod/checkout", "POST /v1/payments/", "default");
    check("prod/payments", "/prod/checkout", "POST /V1/payments", "default");
    check("prod/payments", "/prod/ledger", "POST /v1/payments", "default");
    check("prod/ledger", "/prod/checkout", "ledger.v1.Ledger/Post", "default");
    check("prod/ledger", "/prod/checkout", "ledger.v1.ledger/GetEntry", "default");
    check("prod/ledger-db", "", "HELLO prod/checkout", "default");
    // A guard wins over a rule, and over the boundary.
    check("prod/card-vault", "/prod/notifier", "GET /v1/keys", "guard/vault-callers");
    check("prod/card-vault", "/staging/ledger", "GET /v1/keys", "guard/vault-callers");
    check("prod/ledger", "/prod/notifier", "ledger.v1.Ledger/GetEntry", "guard/comms-stay-out");
    // A boundary wins over a rule.
    check("prod/payments", "/staging/checkout", "POST /v1/payments", "boundary/env");
    check("prod/ledger-db", "", "HELLO staging/ledger", "boundary/env");
    // A closer template that another caller's rule declares takes the request.
    check("prod/card-vault", "/prod/checkout", "GET /v1/tokens/export", "default");
    // So does a method that is named against a `*`.
    check("prod/ledger", "/prod/checkout", "audit.v1.Trail/Erase", "default");
}

#[test]
fn who_is_nobody_is_denied_whatever_it_asks() {
    let nobody = Judgement::Denied("the caller is nobody".to_owned());
    let callers = [
        "",
        "/prod",
        "/prod/checkout/x",
        "/prod/Checkout",
        "/prod/ledger-db",
        "/cellwall/control-plane",
        "/prod/vm/ledger",
        "//checkout",
        ".evil/prod/checkout",
    ];
    for caller in callers {
        assert_eq!(judged("prod/payments", caller, "POST /v1/payments"), nobody, "{caller}");
    }
    let two = ["/prod/checkout", "/prod/checkout"];
    let two = record("prod/payments", &two, saw("POST /v1/payments"));
    assert_eq!(witness().judge(&two), nobody);
    assert_eq!(judged("prod/ledger-db", "", "HELLO prod/stranger"), nobody);
    let silent = Saw::Tcp { hello: None, verb: "POST".to_owned(), bytes: 9 };
    assert_eq!(witness().judge(&record("prod/ledger-db", &[], silent)), nobody);
}

#[test]
fn an_auditing_segment_softens_the_default_alone() {
    let audited = |caller, call| judged("prod/notifier", caller, call) == Judgement::Audited;

    assert!(audited("/prod/checkout", "POST /v1/messages"));
    assert!(!audited("/staging/checkout", "POST /v1/messages"));
    assert!(!audited("/prod/stranger", "POST /v1/messages"));
    assert!(!audited("/prod/checkout", "pkg.Svc/Method"));
    assert!(!audited("/prod/checkout", "POST /v1//messages"));
}

#[test]
fn violations_are_found_among_requests_that_are_right() {
    let intruder = record("prod/card-vault", &["/prod/notifier"], saw("POST /v1/tokens"));
    let forged = record("prod/payments", &["/prod/a", "/prod/checkout"], saw("POST /v1/payments"));
    let records = vec![
        record("prod/payments", &["/prod/checkout"], saw("POST /v1/payments")),
        intruder.clone(),
        record("prod/notifier", &["/prod/payments"], saw("POST /v1/messages")),
        forged.clone(),
    ];

    let report = witness().report(records);

    let violation = |record: &Record, reason: &str| Violation {
        record: record.clone(),
        reason: reason.to_owned(),
    };
    let violations = vec![
        violation(&intruder, "guard/vault-callers"),
        violation(&forged, "the caller is nobody"),
    ];
    assert_eq!(report, Report { seen: 4, audited: 1, violations });
}

#[test]
fn a_key_that_this_release_does_not_know_is_an_error() {
    let check = |root: &str, message: &str| {
        let files = BTreeMap::from([(ROOT.to_owned(), root.to_owned())]);
        let error = Witness::from_files(&files).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    let head = "version: cellwall/v1\nidentity: spiffe://td/{workload}\n";
    check(&format!("{head}grants: []\n"), "grants");
    let rule = "rules: [{name: a, from: any, to: any, allow: [], when: x, why: w}]";
    check(&format!("{head}{rule}\n"), "when");
    check(&head.replace("v1", "v2"), "unknown version");
    check("version: cellwall/v1\n", "no identity");
}

#[test]
fn a_log_is_read_line_by_line_without_the_one_in_the_making() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let right = record("prod/payments", &["/prod/checkout"], saw("POST /v1/payments"));
    let line = serde_json::to_string(&right).unwrap();

    fs::write(&path, format!("{line}\n{line}\n{{\"ts\":")).unwrap();
    assert_eq!(read_log(&path).unwrap(), [right.clone(), right]);
    fs::write(&path, format!("{line}\nnonsense\n")).unwrap();
    assert!(matches!(read_log(&path), Err(WitnessError::Log { line: 2, .. })));
}
