//! A template that takes an encoded slash (HTTP-08): such a path reaches the workload as it was judged,
//! and only there, and no guard is passed by it.

use cellwall_policy::{
    CallDocument, Callers, DestinationDocument, GuardDocument, ListensDocument, Mode, Protocol,
    SnapshotDocument, Tolerated,
};

use crate::{
    kit::{Plan, Sidecar, Town, checkout, destination, eventually, http, payments, policy},
    raw_h2::RawH2,
    spoofs::{self, Caller, Fields, Way, Workload},
};

/// How a request is answered, and as what it reaches the workload, if it does.
type Expected = (u16, Option<&'static str>);

/// What is asked, by POST, and what becomes of it.
const PATHS: [(&str, Expected); 34] = [
    ("/v1/objects/a", (200, Some("/v1/objects/a"))),
    ("/v1/objects/a%2Fb", (200, Some("/v1/objects/a%2Fb"))),
    ("/v1/objects/a%2fb", (200, Some("/v1/objects/a%2Fb"))),
    ("/v1/objects/%61%2f%62%2Fc", (200, Some("/v1/objects/a%2Fb%2Fc"))),
    ("/v1/objects/a%2Fb?c=%2F..", (200, Some("/v1/objects/a%2Fb?c=%2F.."))),
    ("/v1/objects/..a%2Fb..", (200, Some("/v1/objects/..a%2Fb.."))),
    ("/v1/objects/a%2Fb/acl", (200, Some("/v1/objects/a%2Fb/acl"))),
    ("/v1/tree/a/b%2Fc/d", (200, Some("/v1/tree/a/b%2Fc/d"))),
    // One reading: it is what it is.
    ("/v1/objects/a/b", (403, None)),
    // No template of these says so.
    ("/v1/payments/a%2Fb", (403, None)),
    ("/v1%2Fobjects/a", (403, None)),
    ("/v1/objects%2Fa", (403, None)),
    ("/v1/objects/a%2Fb/", (403, None)),
    // The template that owns it takes none, and no wider one gets it.
    ("/v1/tree/a%2Fb/own", (403, None)),
    // A guard is about every reading.
    ("/v1/tree/a%2Fb%2Fy", (403, None)),
    ("/v1/objects/secret%2Fb", (403, None)),
    ("/v1/objects/secret%2fb%2Fc", (403, None)),
    ("/v1/objects/%73ecret%2Fb/acl", (403, None)),
    ("/v1/tree/x%2Fy", (403, None)),
    ("/v1/tree/x/y", (403, None)),
    // What neither may have stays refused.
    ("/v1/objects/..%2Fb", (400, None)),
    ("/v1/objects/a%2F..", (400, None)),
    ("/v1/objects/a%2f%2e%2e%2fb", (400, None)),
    ("/v1/objects/%2F..%2Fadmin", (400, None)),
    ("/v1/objects/a%2F.%2Fb", (400, None)),
    ("/v1/objects/a%2F%2Fb", (400, None)),
    ("/v1/objects/%2Fb", (400, None)),
    ("/v1/objects/a%2F", (400, None)),
    ("/v1/objects/a%2F/acl", (400, None)),
    ("/v1/objects/a%252Fb", (400, None)),
    ("/v1/objects/a%2Fb;c", (400, None)),
    ("/v1/objects/a%2Fb%5Cc", (400, None)),
    ("/v1/objects/a%2F%00", (400, None)),
    // More than a path may have.
    ("/v1/tree/a%2Fa%2Fa%2fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fa%2Fb", (400, None)),
];

/// Payments, whose objects have slashes in their names; some of them nobody may read.
fn loosened() -> SnapshotDocument {
    let calls = [
        http("POST", "/v1/payments/{id}"),
        http("POST", "/v1/objects/{name%2F}"),
        http("POST", "/v1/objects/{name%2F}/acl"),
        http("POST", "/v1/tree/{rest%2F...}"),
        http("POST", "/v1/tree/{one}/own"),
    ];
    let mut policy = policy("payments", Protocol::Http, &calls);
    policy.guards.push(closed(&["/v1/objects/secret/{rest...}", "/v1/tree/{one}/y"]));
    policy
}

fn closed(paths: &[&str]) -> GuardDocument {
    let calls: Vec<CallDocument> = paths.iter().map(|path| http("POST", path)).collect();
    GuardDocument {
        name: "secrets".to_owned(),
        from: Callers::Any,
        except: Vec::new(),
        calls,
        when: None,
        mode: Mode::Enforce,
    }
}

async fn scene(town: &Town, policy: SnapshotDocument) -> (Sidecar, Workload) {
    spoofs::scene(town, policy).await
}

/// Checkout's sidecar, which knows what payments tolerates.
async fn caller(town: &Town, tolerates: Tolerated) -> Sidecar {
    let known = DestinationDocument { tolerates, ..destination("payments", Protocol::Http) };
    town.control.follow("payments", &crate::kit::id("payments"));
    let (plan, policy) = checkout(&["payments"], vec![known]);
    let caller = town.sidecar(plan, policy).await;
    caller.knows("payments").await;
    caller
}

/// The target that reached the workload since the last look.
fn reached(workload: &mut Workload) -> Option<String> {
    let read = workload.seen.try_recv().ok()?;
    let text = String::from_utf8(read).unwrap();
    Some(text.split(' ').nth(1).unwrap().to_owned())
}

/// Every path, over HTTP/1.1 and HTTP/2.
async fn check(way: Way<'_>, paths: &[(&str, Expected)], workload: &mut Workload) {
    for (path, (status, target)) in paths {
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: payments\r\ncontent-length: 0\r\n\r\n");
        let answered = Caller::new(way).status_over_h1(request.as_bytes()).await;
        let target = target.map(str::to_owned);
        assert_eq!((answered, reached(workload)), (*status, target.clone()), "h1 {path}");
        let pseudo =
            [(":method", "POST"), (":scheme", "http"), (":authority", "payments"), (":path", path)];
        let mut connection = RawH2::begin(way.open("h2").await).await;
        let answered = connection.asked(&pseudo, &Fields::default()).await;
        assert_eq!((answered, reached(workload)), (Some(*status == 200), target), "h2 {path}");
    }
}

#[tokio::test]
async fn an_encoded_slash_reaches_the_workload_where_a_template_says_so_and_nowhere_else() {
    let town = Town::new().await;
    let (callee, mut workload) = scene(&town, loosened()).await;
    let svid = town.svid("checkout");
    check(Way::Straight(&callee, &svid), &PATHS, &mut workload).await;
}

#[tokio::test]
async fn the_same_through_both_sidecars() {
    let town = Town::new().await;
    let (_callee, mut workload) = scene(&town, loosened()).await;
    let caller = caller(&town, Tolerated::EncodedSlash).await;
    check(Way::Through(caller.outbound["payments"]), &PATHS, &mut workload).await;
}

#[tokio::test]
async fn a_callers_sidecar_reads_only_what_its_destination_tolerates() {
    let town = Town::new().await;
    let (_callee, mut workload) = scene(&town, loosened()).await;
    let caller = caller(&town, Tolerated::Nothing).await;
    let paths = [("/v1/objects/a", PATHS[0].1), ("/v1/objects/a%2Fb", (400, None))];
    check(Way::Through(caller.outbound["payments"]), &paths, &mut workload).await;
}

#[tokio::test]
async fn where_no_template_says_so_every_encoded_slash_is_refused() {
    let town = Town::new().await;
    let (callee, mut workload) = scene(&town, payments().1).await;
    let svid = town.svid("checkout");
    let refused = PATHS.map(|(path, _)| (path, (400, None)));
    let refused: Vec<_> =
        refused.into_iter().filter(|(path, _)| path.to_uppercase().contains("%2F")).collect();
    check(Way::Straight(&callee, &svid), &refused[..4], &mut workload).await;
}

#[tokio::test]
async fn a_policy_that_takes_it_back_holds_from_then_on() {
    let town = Town::new().await;
    let (callee, mut workload) = scene(&town, loosened()).await;
    let svid = town.svid("checkout");
    let way = Way::Straight(&callee, &svid);
    check(way, &PATHS[1..2], &mut workload).await;
    let version = town.publish(payments().1);
    eventually("the policy", async || callee.config().await["policy_version"] == version).await;
    check(way, &[("/v1/objects/a%2Fb", (400, None))], &mut workload).await;
}

#[tokio::test]
async fn the_path_of_a_grpc_call_is_two_names_whatever_http_tolerates_beside_it() {
    let town = Town::new().await;
    let plan = Plan { name: "payments", speaks: Protocol::Grpc, outbound: &[] };
    let listening = |workload| {
        ["8443", "9443"].map(|port| format!("--inbound={port}@127.0.0.1:0={workload}")).into()
    };
    let callee = town.flagged(plan, listening).await;
    let mut policy = SnapshotDocument { mode: Mode::Audit, ..loosened() };
    policy.listens.push(ListensDocument::of(Protocol::Grpc, 9443));
    let mut callee = town.made_ready(callee, "payments", policy).await;
    let stream = callee.dial_at(callee.listeners["9443"], &town.svid("checkout"), &["h2"]).await;
    let mut connection = RawH2::begin(stream).await;
    for (path, reason) in [("/a.A%2FB/Get", "path_ambiguous"), ("/a.A/Get", "done")] {
        let pseudo =
            [(":method", "POST"), (":scheme", "http"), (":authority", "payments"), (":path", path)];
        connection.asked(&pseudo, &Fields::default()).await.unwrap();
        callee.logged(|line| line["kind"] == "call" && line["cellwall.reason"] == reason).await;
    }
}
