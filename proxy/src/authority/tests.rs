//! A model of one connection and its re-proofs: every order of a few events, against rules that are
//! written down apart from the code (ROT-05, `docs/decisions/0010`).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellwall_mtls::{Alpn, DenyList, MaterialInput, Peer, Refusal, Session, TlsMaterial};
use cellwall_policy::{
    Call, CallDocument, CallerDocument, Callers, Digest, GrantDocument, IdentityHeader,
    ListensDocument, Mode, Protocol, RequestPath, RuleDocument, Snapshot, SnapshotDocument, Tls,
    Verdict,
};
use cellwall_testkit::{
    ca::{Svid, TestCa},
    tls::DangerousParty,
    x509::Validity,
};
use rustls_pki_types::UnixTime;
use spiffe::TrustDomain;
use tokio::io::DuplexStream;
use tokio_rustls::server::TlsStream;

use super::{Authority, Needs, Proved, grace, late};
use crate::{Authz, CloseReason, Identities, Identity, Live, reproof::Renewal};

const CLIENT: &str = "spiffe://pay.example/prod/checkout";
const SERVER: &str = "spiffe://pay.example/prod/ledger-db";
const INTRUDER: &str = "spiffe://pay.example/prod/intruder";

/// Each certificate of either side ends so many seconds from the start.
const ENDS: [u64; 3] = [100, 200, 300];

/// How long the sequences are that are tried, all of them.
const DEPTH: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The side that connected gets its certificate of that number.
    RenewClient(usize),
    RenewServer(usize),
    /// A re-proof; without its answer, or by somebody else.
    Prove,
    ProveAnswerLost,
    ProveAsIntruder,
    Time(u64),
    /// The policy does not allow the call any more, or again.
    Policy(bool),
    /// The callee's sidecar does not trust the authority any more.
    Distrust,
}

const EVENTS: [Event; 13] = [
    Event::RenewClient(1),
    Event::RenewClient(2),
    Event::RenewServer(1),
    Event::RenewServer(2),
    Event::Prove,
    Event::ProveAnswerLost,
    Event::ProveAsIntruder,
    Event::Time(100),
    Event::Time(101),
    Event::Time(250),
    Event::Policy(false),
    Event::Policy(true),
    Event::Distrust,
];

/// Certificates of both sides, and the peers that they proved in real handshakes.
struct World {
    base: SystemTime,
    trusting: Arc<Identity>,
    distrusting: Arc<Identity>,
    allowing: Arc<Snapshot>,
    denying: Arc<Snapshot>,
    clients: Vec<Peer>,
    servers: Vec<Peer>,
    intruder: Peer,
}

impl World {
    async fn new() -> Self {
        let ca = TestCa::new("pay.example");
        let base = UNIX_EPOCH + Duration::from_secs(UnixTime::now().as_secs());
        let valid = |end: u64| Validity {
            not_before: base - Duration::from_secs(60),
            not_after: base + Duration::from_secs(end),
        };
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for end in ENDS {
            clients.push(proved(&ca, &ca.svid_valid(CLIENT, valid(end))).await);
            servers.push(proved(&ca, &ca.svid_valid(SERVER, valid(end))).await);
        }
        let intruder = proved(&ca, &ca.svid_valid(INTRUDER, valid(300))).await;
        let identity = |ca| Arc::new(Identity { material: material(ca), trust_epoch: 1 });
        Self {
            base,
            trusting: identity(&ca),
            distrusting: identity(&TestCa::new("pay.example")),
            allowing: Arc::new(Snapshot::new(policy(true)).unwrap()),
            denying: Arc::new(Snapshot::new(policy(false)).unwrap()),
            clients,
            servers,
            intruder,
        }
    }

    fn at(&self, seconds: u64) -> SystemTime {
        self.base + Duration::from_secs(seconds)
    }

    /// One side of a connection that was opened with the first certificates.
    fn side(&self, peer: &Peer, call: Option<&Authz>) -> (Authority, Identities) {
        let identities = Identities::default();
        identities.hold(self.trusting.clone());
        let first = Authority::of_connection(&identities, &self.trusting, peer, Tls::default());
        let own_end = peer.not_after();
        first.common.proved.send_replace(Proved::by(peer.clone(), own_end));
        let at = |authz: &Authz| authz.declared(None).unwrap();
        let authority = call.map(|authz| first.needing(authz, Needs::Tcp(at(authz))));
        (authority.unwrap_or(first), identities)
    }
}

/// What a call stands on, and the policy that it may lose.
pub(crate) async fn standing() -> (Authority, Arc<Live<Snapshot>>) {
    let (authority, policy, _) = revocable().await;
    (authority, policy)
}

/// The same, and a policy of the same listener that does not allow it.
pub(super) async fn revocable() -> (Authority, Arc<Live<Snapshot>>, Arc<Snapshot>) {
    let world = World::new().await;
    let policy = Arc::new(Live::default());
    policy.publish(world.allowing.clone());
    let authz = Authz::new(policy.clone());
    (world.side(&world.clients[0], Some(&authz)).0, policy, world.denying.clone())
}

/// An identity that trusts none of them.
pub(crate) fn stranger() -> Arc<Identity> {
    let ca = TestCa::new("pay.example");
    Arc::new(Identity { material: material(&ca), trust_epoch: 2 })
}

/// One of another workload.
pub(crate) fn somebody_else() -> Arc<Identity> {
    let material = material_of(&TestCa::new("pay.example"), CLIENT);
    Arc::new(Identity { material, trust_epoch: 3 })
}

/// What keeps a connection to ledger-db open that lasts for as long as its first certificates.
pub(crate) async fn kept() -> Renewal {
    let ca = TestCa::new("pay.example");
    let Session { peer, binding, .. } = session(&ca, &ca.svid(SERVER)).await;
    let identity = Arc::new(Identity { material: material(&ca), trust_epoch: 1 });
    let identities = Identities::default();
    identities.hold(identity.clone());
    let authority = Authority::of_connection(&identities, &identity, &peer, Tls::default());
    Renewal {
        identities,
        authz: Authz::new(Arc::default()),
        destination: "ledger-db".into(),
        address: "127.0.0.1:9".parse().unwrap(),
        binding,
        authority,
        generation: 1,
    }
}

/// A peer as a handshake proves it.
async fn proved(ca: &TestCa, svid: &Svid) -> Peer {
    session(ca, svid).await.peer
}

async fn session(ca: &TestCa, svid: &Svid) -> Session<TlsStream<DuplexStream>> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (ours, theirs) = (material(ca), DangerousParty::presenting(svid).alpn(&["h2"]));
    let accept = cellwall_mtls::accept(&ours, near, &[Alpn::H2], Duration::from_secs(5));
    tokio::join!(accept, theirs.connect(far)).0.unwrap()
}

/// What trusts `ca`.
fn material(ca: &TestCa) -> TlsMaterial {
    material_of(ca, SERVER)
}

fn material_of(ca: &TestCa, id: &str) -> TlsMaterial {
    let svid = ca.svid(id);
    TlsMaterial::build(MaterialInput {
        chain: svid.chain.clone(),
        key: svid.key.clone_key(),
        bundles: BTreeMap::from([(TrustDomain::new("pay.example").unwrap(), vec![ca.root()])]),
        deny: DenyList::default(),
        generation: 1,
        now: UnixTime::now(),
    })
    .unwrap()
}

/// What the rules say, in numbers.
#[derive(Clone, Debug)]
struct Model {
    now: u64,
    is_allowed: bool,
    is_trusted: bool,
    /// Which certificate each side holds.
    client: usize,
    server: usize,
    /// The end of what each side knows to be proved.
    client_end: u64,
    server_end: u64,
}

impl Model {
    fn new() -> Self {
        let [first, ..] = ENDS;
        Self {
            now: 0,
            is_allowed: true,
            is_trusted: true,
            client: 0,
            server: 0,
            client_end: first,
            server_end: first,
        }
    }

    /// A connection is open at a side only before what that side knows to be proved has ended.
    fn holds(&self) -> (bool, bool) {
        let server = self.now <= self.server_end && self.is_allowed && self.is_trusted;
        (self.now <= self.client_end, server)
    }

    /// The end that a re-proof of now gives, if it is one.
    fn proof(&self) -> Option<u64> {
        let end = ENDS[self.client].min(ENDS[self.server]);
        (self.holds().1 && self.now <= end).then_some(end)
    }
}

/// The real thing.
struct Real<'a> {
    world: &'a World,
    client: (Authority, Identities),
    server: (Authority, Identities),
    policy: Arc<Live<Snapshot>>,
}

impl<'a> Real<'a> {
    fn new(world: &'a World) -> Self {
        let policy = Arc::new(Live::default());
        policy.publish(world.allowing.clone());
        let authz = Authz::new(policy.clone());
        let client = world.side(&world.servers[0], None);
        let server = world.side(&world.clients[0], Some(&authz));
        Self { world, client, server, policy }
    }

    /// What a re-proof does on the accepting side, then on the connecting side.
    fn prove(&self, (peer, server): (&Peer, &Peer), now: SystemTime, is_answered: bool) -> bool {
        let proved = self.server.0.renew(peer.clone(), server.not_after(), now).is_ok();
        if proved && is_answered {
            let _ = self.client.0.renew(server.clone(), peer.not_after(), now);
        }
        proved
    }
}

/// Applies one event to both, and compares what each says after it.
fn step(event: Event, model: &mut Model, real: &Real<'_>) {
    let world = real.world;
    let now = world.at(model.now);
    let pair = (&world.clients[model.client], &world.servers[model.server]);
    match event {
        Event::RenewClient(number) => model.client = number,
        Event::RenewServer(number) => model.server = number,
        Event::Prove | Event::ProveAnswerLost => {
            let is_answered = matches!(event, Event::Prove);
            let expected = model.proof();
            assert_eq!(
                real.prove(pair, now, is_answered),
                expected.is_some(),
                "{event:?} {model:?}"
            );
            if let Some(end) = expected {
                let is_open = model.holds().0;
                model.server_end = end;
                if is_answered && is_open {
                    model.client_end = end;
                }
            }
        }
        Event::ProveAsIntruder => {
            assert!(!real.prove((&world.intruder, pair.1), now, true), "{model:?}");
        }
        Event::Time(seconds) => model.now = seconds,
        Event::Policy(is_allowed) => {
            model.is_allowed = is_allowed;
            let policy = if is_allowed { &world.allowing } else { &world.denying };
            real.policy.publish(policy.clone());
        }
        Event::Distrust => {
            model.is_trusted = false;
            real.server.1.hold(world.distrusting.clone());
        }
    }
    let now = world.at(model.now);
    let seen = (real.client.0.holds(now).is_ok(), real.server.0.holds(now).is_ok());
    assert_eq!(seen, model.holds(), "after {event:?}: {model:?}");
}

#[tokio::test]
async fn every_order_of_events_leaves_a_connection_no_longer_open_than_what_was_proved() {
    let world = World::new().await;
    let mut tried = 0_u32;
    for sequence in 0..EVENTS.len().pow(DEPTH) {
        let (mut model, real, mut rest) = (Model::new(), Real::new(&world), sequence);
        for _ in 0..DEPTH {
            step(EVENTS[rest % EVENTS.len()], &mut model, &real);
            rest /= EVENTS.len();
        }
        tried += 1;
    }
    println!("evidence: {}", serde_json::json!({ "events": EVENTS.len(), "orders": tried }));
}

#[tokio::test]
async fn new_calls_leave_first_and_the_other_side_is_told_later() {
    let world = World::new().await;
    let (authority, _) = world.side(&world.servers[0], None);
    let identity = Identity { material: material(&TestCa::new("pay.example")), trust_epoch: 1 };
    let fresh = Authority::of_connection(
        &authority.common.identities,
        &identity,
        &world.servers[0],
        Tls::default(),
    );
    let left = |moment: SystemTime| moment.duration_since(SystemTime::now()).unwrap().as_secs();
    assert!((73..=76).contains(&left(fresh.retire_at())), "three quarters of a hundred seconds");
    assert!((88..=91).contains(&left(fresh.common.late_at)), "nine tenths");
    let soon = Duration::from_millis(20);
    assert!(tokio::time::timeout(soon, fresh.retired()).await.is_err());
    assert!(tokio::time::timeout(soon, late(Some(&fresh))).await.is_err());
    assert!(tokio::time::timeout(soon, late(None)).await.is_err());
    let mut over = fresh.common.alike();
    (over.retire_at, over.late_at) = (UNIX_EPOCH, UNIX_EPOCH);
    let over = Authority { common: Arc::new(over), needs: None };
    over.retired().await;
    late(Some(&over)).await;
}

#[test]
fn only_what_is_replaced_gets_a_grace() {
    // ROT-05
    for reason in [
        CloseReason::SvidWithdrawn,
        CloseReason::TrustWithdrawn(Refusal::UnknownIssuer),
        CloseReason::TrustWithdrawn(Refusal::UnknownTrustDomain),
        CloseReason::TrustWithdrawn(Refusal::AnchorsExpired),
    ] {
        assert_eq!(grace(reason), Duration::from_secs(5), "{reason:?}");
    }
    for reason in [
        CloseReason::PolicyRevoked,
        CloseReason::SvidExpired,
        CloseReason::TrustWithdrawn(Refusal::DeniedId),
    ] {
        assert_eq!(grace(reason), Duration::ZERO, "{reason:?}");
    }
}

#[tokio::test]
async fn nothing_stands_on_a_listener_that_is_not_declared_as_it_was() {
    // AZ-03
    let world = World::new().await;
    let (http, grpc, tcp) = (Protocol::Http, Protocol::Grpc, Protocol::Tcp);
    let path = RequestPath::parse("/v1").unwrap();
    for (port, before, now, expected) in [
        (Some(5432), vec![(tcp, 5432)], vec![(tcp, 5432), (http, 80)], Ok(())),
        (Some(5432), vec![(tcp, 5432)], vec![(tcp, 5433)], Err(CloseReason::NotDeclared)),
        (Some(80), vec![(http, 80)], vec![(grpc, 80), (http, 81)], Err(CloseReason::NotDeclared)),
        (None, vec![(tcp, 5432)], vec![(tcp, 5432)], Ok(())),
        (None, vec![(tcp, 5432)], vec![(tcp, 5433)], Err(CloseReason::NotDeclared)),
        (None, vec![(http, 80)], vec![(http, 80), (tcp, 81)], Err(CloseReason::NotDeclared)),
    ] {
        let live = Arc::new(Live::default());
        let authz = Authz::new(live.clone());
        live.publish(listening(&before));
        let at = authz.declared(port).unwrap();
        let call = match at.protocol() {
            Protocol::Tcp => Call::Tcp { port: before[0].1 },
            Protocol::Http | Protocol::Grpc => Call::Http { method: "GET", path: &path },
        };
        let peer = &world.clients[0];
        let (connection, _identities) = world.side(peer, None);
        let connection = connection.needing(&authz, Needs::Listener(at));
        let stands = || {
            let asked = authz.decide(at, peer, connection.tls(), &call);
            (connection.holds(world.at(1)), asked.map(drop).map_err(|denied| denied.reason))
        };
        assert_eq!(stands(), (Ok(()), Ok(())), "{before:?}");
        live.publish(listening(&now));
        assert_eq!(stands(), (expected, expected), "{before:?}, then {now:?}");
        live.withdraw();
        let none = Err(CloseReason::NoPolicy);
        assert_eq!(stands(), (none, none));
    }
}

/// A policy that allows everything on these listeners.
fn listening(listens: &[(Protocol, u16)]) -> Snapshot {
    let listens = listens.iter().map(|&(protocol, port)| ListensDocument::of(protocol, port));
    let listens: Vec<_> = listens.collect();
    let call = |listener: &ListensDocument| match listener.protocol {
        Protocol::Tcp => CallDocument::Tcp { port: listener.port },
        Protocol::Http => {
            CallDocument::Http { methods: vec!["GET".to_owned()], path: "/v1".to_owned() }
        }
        Protocol::Grpc => CallDocument::Grpc { service: "a.B".to_owned(), method: "C".to_owned() },
    };
    let mut document = policy(true);
    document.rules[0].calls = listens.iter().map(call).collect();
    Snapshot::new(SnapshotDocument { listens, ..document }).unwrap()
}

pub(crate) fn policy(is_allowed: bool) -> SnapshotDocument {
    let rule = RuleDocument {
        name: "checkout-calls".to_owned(),
        from: Callers::Named(vec!["checkout".to_owned()]),
        calls: vec![CallDocument::Tcp { port: 5432 }],
        ..RuleDocument::default()
    };
    SnapshotDocument {
        foreign: Vec::new(),
        grants: Vec::new(),
        probes: Vec::new(),
        schema: cellwall_policy::SCHEMA,
        trust_domain: "pay.example".to_owned(),
        callee: SERVER.to_owned(),
        workload: "ledger-db".to_owned(),
        epoch: 1,
        version: 1,
        digest: Digest::default().to_string(),
        issued_at: 1,
        max_age_seconds: 86_400,
        identity_headers: IdentityHeader::USUAL.to_vec(),
        mode: Mode::Enforce,
        listens: vec![ListensDocument::of(Protocol::Tcp, 5432)],
        identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
        callers: vec![CallerDocument { name: "checkout".to_owned(), id: None }],
        rules: if is_allowed { vec![rule] } else { Vec::new() },
        guards: Vec::new(),
        destinations: Vec::new(),
    }
}

#[tokio::test]
async fn what_one_policy_said_is_not_what_another_one_says() {
    // AZ-10
    let world = World::new().await;
    let live = Arc::new(Live::default());
    live.publish(world.allowing.clone());
    let authz = Authz::new(live.clone());
    let (at, tls) = (authz.declared(None).unwrap(), Tls::default());
    let permit = authz.decide(at, &world.clients[0], &tls, &Call::Tcp { port: at.port() }).unwrap();
    let (mut said, now) = (permit.said(), SystemTime::now());
    assert!(authz.still_says(&said, now));
    said.until = Some(now + Duration::from_secs(1));
    assert!(authz.still_says(&said, now));
    said.until = Some(now);
    assert!(!authz.still_says(&said, now), "its time is over");
    said.until = None;
    live.publish(Snapshot::new(policy(true)).unwrap());
    assert!(!authz.still_says(&said, now), "it says the same, and has to be asked");
    live.publish(world.allowing);
    assert!(authz.still_says(&said, now));
    live.withdraw();
    assert!(!authz.still_says(&said, now));
}

#[tokio::test]
async fn a_grant_that_has_not_begun_by_a_clock_that_was_set_is_not_said() {
    // AZ-10, ROT-08
    let world = World::new().await;
    let mut document = policy(false);
    let rule = policy(true).rules.remove(0);
    let now = SystemTime::now();
    let unix = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
    document.grants = vec![GrantDocument { rule, starts: unix - 60, expires: unix + 3600 }];
    let snapshot = Arc::new(Snapshot::new(document).unwrap());
    let live = Arc::new(Live::default());
    live.publish(snapshot.clone());
    let authz = Authz::new(live);
    let (at, tls) = (authz.declared(None).unwrap(), Tls::default());
    let (peer, call) = (&world.clients[0], Call::Tcp { port: at.port() });
    let permit = authz.decide(at, peer, &tls, &call).unwrap();
    let set_back = now - Duration::from_secs(3600);
    let asked = snapshot.decide(peer.id(), &tls, &call, set_back).verdict;
    assert_eq!(asked, Verdict::Deny);
    assert!(!authz.still_says(&permit.said(), set_back), "the policy says {asked:?}");
}
