//! One stream against a scripted server.

use std::{
    io::Write,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use cellwall_api::workload::X509svidResponse;
use spiffe::{SpiffeId, TrustDomain};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Code;

use super::Svids;
use crate::{
    Agent, Bundle, Caller, Issued, Order, Refused, Selectors, Server, View, bundles::Bundles,
    serve::Connection,
};

const HOUR: Duration = Duration::from_secs(3600);

/// What the server says, changed by a test at will.
struct Script {
    ids: Vec<SpiffeId>,
    refuses: Option<Refused>,
    /// How long ago the certificates that it issues were issued, and how long they go on.
    age: Duration,
    left: Duration,
    issued: usize,
    /// The caller's process exits when this is written to.
    exit: Option<UnixStream>,
}

#[derive(Clone)]
struct Scripted {
    script: Arc<Mutex<Script>>,
    changes: watch::Sender<u64>,
    bundle: Arc<Bundle>,
}

impl Server for Scripted {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn view(&self, _: &Selectors) -> Result<View, Refused> {
        let ids = self.script.lock().unwrap().ids.clone();
        Ok(View { ids, bundle: self.bundle.clone() })
    }

    async fn sign(&self, _: Order) -> Result<Issued, Refused> {
        let mut script = self.script.lock().unwrap();
        if let Some(exit) = &mut script.exit {
            exit.write_all(b"x").unwrap();
        }
        if let Some(refused) = &script.refuses {
            return Err(refused.clone());
        }
        script.issued += 1;
        let now = SystemTime::now();
        Ok(Issued {
            chain: vec![0x30, 0],
            serial: script.issued.to_string(),
            issued_at: now - script.age,
            not_after: now + script.left,
        })
    }
}

struct Fixture {
    script: Arc<Mutex<Script>>,
    connection: Arc<Connection<Scripted>>,
    svids: Svids<Scripted>,
    /// The caller lives for as long as nothing is written here.
    exit: UnixStream,
}

fn fixture() -> Fixture {
    let script = Arc::new(Mutex::new(Script {
        ids: vec![SpiffeId::new("spiffe://pay.example/prod/web").unwrap()],
        refuses: None,
        age: Duration::ZERO,
        left: HOUR,
        issued: 0,
        exit: None,
    }));
    let trust_domain = TrustDomain::new("pay.example").unwrap();
    let server = Scripted {
        script: script.clone(),
        changes: watch::Sender::new(0),
        bundle: Arc::new(Bundle { trust_domain, authorities: vec![0x30, 0] }),
    };
    let agent = Arc::new(Agent::new(server, TaskTracker::new(), CancellationToken::new()));
    let (here, _there) = UnixStream::pair().unwrap();
    let (readable, exit) = UnixStream::pair().unwrap();
    let caller = Caller::attest(&here).unwrap().exits_with(readable.into());
    let connection = Arc::new(Connection::new(agent, caller).unwrap());
    Fixture { script, svids: Svids::new(connection.clone()), connection, exit }
}

fn keys(response: Option<X509svidResponse>) -> Vec<Vec<u8>> {
    response.unwrap().svids.into_iter().map(|svid| svid.x509_svid_key).collect()
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again_and_a_renewal_has_a_new_key() {
    // WAPI-33, ROT-02
    let Fixture { script, connection, mut svids, exit: _exit } = fixture();
    script.lock().unwrap().age = 2 * HOUR;
    let first = keys(svids.next().await.unwrap());
    assert_eq!(svids.pause(), Duration::ZERO);
    script.lock().unwrap().age = Duration::ZERO;
    let second = keys(svids.next().await.unwrap());
    assert_ne!(first, second);
    assert_eq!(svids.next().await.unwrap(), None);
    assert_eq!(script.lock().unwrap().issued, 2);
    let holdings = connection.agent.holdings();
    assert_eq!(holdings.list().len(), 1);
    assert_eq!(holdings.list()[0].serial, "2");
    drop(svids);
    assert_eq!(holdings.list(), []);
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_svid_in_use_until_its_end() {
    let Fixture { script, mut svids, exit: _exit, .. } = fixture();
    script.lock().unwrap().age = 2 * HOUR;
    svids.next().await.unwrap();
    script.lock().unwrap().refuses = Some(Refused::Unavailable("the disk is full".into()));
    assert_eq!(svids.next().await.unwrap(), None);
    assert!(svids.pause() > Duration::from_millis(500));

    let Fixture { script, mut svids, exit: _exit, .. } = fixture();
    script.lock().unwrap().left = Duration::ZERO;
    svids.next().await.unwrap();
    script.lock().unwrap().refuses = Some(Refused::Unavailable("the disk is full".into()));
    assert_eq!(svids.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn the_server_has_the_last_word_on_who_is_entitled() {
    // WAPI-14
    let Fixture { script, mut svids, exit: _exit, .. } = fixture();
    script.lock().unwrap().refuses = Some(Refused::NotEntitled);
    assert_eq!(svids.next().await.unwrap_err().code(), Code::PermissionDenied);
    script.lock().unwrap().ids.clear();
    assert_eq!(svids.next().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_identity_that_goes_takes_its_key_and_comes_back_with_another() {
    let Fixture { script, connection, mut svids, exit: _exit } = fixture();
    let db = SpiffeId::new("spiffe://pay.example/prod/db").unwrap();
    script.lock().unwrap().ids.push(db.clone());
    let both = keys(svids.next().await.unwrap());
    script.lock().unwrap().ids.pop();
    assert_eq!(keys(svids.next().await.unwrap()), both[..1]);
    assert_eq!(connection.agent.holdings().list().len(), 1);
    script.lock().unwrap().ids.push(db);
    let again = keys(svids.next().await.unwrap());
    assert_eq!(again[0], both[0]);
    assert_ne!(again[1], both[1]);
}

#[tokio::test]
async fn nothing_is_asked_for_a_process_that_has_exited() {
    // ATT-01
    let Fixture { script, mut svids, mut exit, .. } = fixture();
    exit.write_all(b"x").unwrap();
    assert_eq!(svids.next().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(script.lock().unwrap().issued, 0);
}

#[tokio::test]
async fn nothing_is_sent_to_a_process_that_exited_while_we_signed() {
    // ATT-01, WAPI-30
    let Fixture { script, mut svids, exit, .. } = fixture();
    script.lock().unwrap().exit = Some(exit);
    assert_eq!(svids.next().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(script.lock().unwrap().issued, 1);
}

#[tokio::test]
async fn bundles_are_not_sent_to_a_process_that_has_exited() {
    // ATT-01
    let Fixture { connection, mut exit, .. } = fixture();
    let mut bundles = Bundles::new(connection);
    assert!(bundles.next().await.unwrap().is_some());
    assert_eq!(bundles.next().await.unwrap(), None);
    exit.write_all(b"x").unwrap();
    assert_eq!(bundles.next().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_user_that_has_spent_its_budget_waits() {
    // CA-09
    let Fixture { script, connection, mut svids, exit: _exit } = fixture();
    let (limits, uid) = (&connection.agent.limits, connection.caller.process().uid);
    // In the future, so that no time passes until the question below.
    let later = Instant::now() + HOUR;
    while limits.take_issuance(uid, later) {}
    assert_eq!(svids.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(script.lock().unwrap().issued, 0);
}
