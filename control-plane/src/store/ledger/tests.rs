use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    DecisionRow, EdgeRow, Kept, LedgerReader, MAX_EDGES_PER_DAY, ReportRow, Trimmed,
    trim::{MAX_DECISIONS_PER_CALLEE, MAX_REPORTERS_PER_CALLEE},
};
use crate::store::{Store, StoreThread};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Ledger {
    store: Store,
    reader: LedgerReader,
    dir: TempDir,
    _thread: StoreThread,
}

fn ledger() -> Ledger {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let (store, thread) = Store::open(&path).unwrap();
    Ledger { store, reader: LedgerReader::new(&path), dir, _thread: thread }
}

impl Ledger {
    async fn keep(&self, report: ReportRow) -> Kept {
        self.keep_at(report, UNIX_EPOCH + 20_000 * DAY).await
    }

    async fn keep_at(&self, report: ReportRow, now: SystemTime) -> Kept {
        self.store.keep_reports(vec![report], now).await.unwrap()[0]
    }

    fn count(&self, table: &str) -> i64 {
        let database = Connection::open(self.dir.path().join("test.db")).unwrap();
        let query = format!("SELECT count(*) FROM {table}");
        database.query_row(&query, [], |row| row.get(0)).unwrap()
    }
}

fn edge(caller: &str, count: i64, last_at: i64) -> EdgeRow {
    EdgeRow {
        caller: caller.into(),
        call: "GET /".into(),
        verdict: "allow".into(),
        by: "rule".into(),
        version: last_at,
        count,
        first_at: last_at - 10,
        last_at,
    }
}

fn report(instance: &str, sequence: i64) -> ReportRow {
    ReportRow {
        callee: "db".into(),
        instance: instance.into(),
        sequence,
        dropped: 0,
        edges: vec![edge("web", 2, 100)],
        decisions: vec![DecisionRow {
            id: format!("{instance}-{sequence}"),
            document: "{}".into(),
        }],
    }
}

#[tokio::test]
async fn a_batch_counts_once_however_often_it_comes() {
    let ledger = ledger();
    assert_eq!(ledger.keep(report("a", 1)).await, Kept::New);
    assert_eq!(ledger.keep(report("a", 1)).await, Kept::Known);
    assert_eq!(ledger.keep(report("a", 2)).await, Kept::New);
    assert_eq!(ledger.keep(report("a", 1)).await, Kept::Known, "late");
    // Another process, and another callee, count for themselves.
    assert_eq!(ledger.keep(report("b", 1)).await, Kept::New);
    let other = ReportRow { callee: "ledger".into(), decisions: Vec::new(), ..report("a", 1) };
    assert_eq!(ledger.keep(other).await, Kept::New);
    let edges = ledger.reader.edges(10).await.unwrap();
    let counts: Vec<_> = edges.iter().map(|it| (it.callee.as_str(), it.edge.count)).collect();
    assert_eq!(counts, [("db", 6), ("ledger", 2)]);
    assert_eq!(ledger.count("decisions"), 3);
}

#[tokio::test]
async fn an_edge_adds_up_over_batches_and_days() {
    let ledger = ledger();
    let day = 24 * 3600 * 1000;
    for (sequence, last_at) in [(1, 5 * day), (2, 5 * day + 7), (3, 6 * day)] {
        let edges = vec![edge("web", 1, last_at)];
        ledger.keep(ReportRow { edges, ..report("a", sequence) }).await;
    }
    assert_eq!(ledger.count("edges"), 2, "a row a day");
    let edges = ledger.reader.edges(10).await.unwrap();
    let sum = EdgeRow { count: 3, first_at: 5 * day - 10, ..edge("web", 1, 6 * day) };
    assert_eq!(edges[0].edge, sum);
    assert_eq!(edges.len(), 1);
}

#[tokio::test]
async fn a_sidecar_that_invents_callers_fills_one_day_and_no_more() {
    let ledger = ledger();
    let invented = MAX_EDGES_PER_DAY + 50;
    let edges = (0..invented).map(|number| edge(&format!("nobody-{number}"), 1, 100)).collect();
    ledger.keep(ReportRow { edges, ..report("a", 1) }).await;
    assert_eq!(ledger.count("edges"), MAX_EDGES_PER_DAY + 1);
    let edges = ledger.reader.edges(10_000).await.unwrap();
    let others = edges.iter().find(|it| it.edge.caller.is_empty()).unwrap();
    assert_eq!((others.edge.count, others.edge.call.as_str()), (50, ""));
    assert_eq!(edges.iter().map(|it| it.edge.count).sum::<i64>(), invented, "nothing is lost");
}

#[tokio::test]
async fn one_callee_cannot_push_out_what_others_denied() {
    let ledger = ledger();
    let quiet = DecisionRow { id: "quiet".into(), document: "{\"id\":\"quiet\"}".into() };
    let callee = "quiet".to_owned();
    ledger.keep(ReportRow { callee, decisions: vec![quiet], ..report("a", 1) }).await;
    let loud = |number: i64| DecisionRow { id: format!("loud-{number}"), document: "{}".into() };
    for sequence in 1..=2 {
        let first = sequence * MAX_DECISIONS_PER_CALLEE;
        let decisions = (first..first + MAX_DECISIONS_PER_CALLEE).map(loud).collect();
        ledger.keep(ReportRow { decisions, ..report("a", sequence) }).await;
    }
    assert_eq!(ledger.count("decisions"), MAX_DECISIONS_PER_CALLEE + 1);
    let found = ledger.reader.decision("quiet").await.unwrap().unwrap();
    assert_eq!((found.document.as_str(), found.instance.as_str()), ("{\"id\":\"quiet\"}", "a"));
    let newest = ledger.reader.decisions(1).await.unwrap();
    assert_eq!(newest.len(), 1);
    assert!(
        ledger
            .reader
            .decision(&format!("loud-{MAX_DECISIONS_PER_CALLEE}"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn an_id_that_is_taken_stays_whose_it_was() {
    let ledger = ledger();
    ledger.keep(report("a", 1)).await;
    let forged = DecisionRow { id: "a-1".into(), document: "{\"forged\":1}".into() };
    let callee = "intruder".to_owned();
    ledger.keep(ReportRow { callee, decisions: vec![forged], ..report("a", 1) }).await;
    let found = ledger.reader.decision("a-1").await.unwrap().unwrap();
    assert_eq!(found.document, "{}");
}

#[tokio::test]
async fn what_is_old_is_forgotten_and_so_is_a_process_that_says_nothing() {
    let ledger = ledger();
    let at = |days: u32| UNIX_EPOCH + days * DAY;
    let last_at = |days: i64| days * 24 * 3600 * 1000;
    for (sequence, days) in [(1, 1000_i64), (2, 1380), (3, 1410)] {
        let edges = vec![edge("web", 1, last_at(days))];
        let report = ReportRow { edges, ..report("a", sequence) };
        ledger.keep_at(report, at(u32::try_from(days).unwrap())).await;
    }
    let trimmed = ledger.store.trim_ledger(at(1411)).await.unwrap();
    assert_eq!(trimmed, Trimmed { decisions: 1, edges: 1 });
    assert_eq!((ledger.count("decisions"), ledger.count("reporters")), (2, 1));
    ledger.store.trim_ledger(at(1420)).await.unwrap();
    assert_eq!(ledger.count("reporters"), 0);
    for number in 0..=MAX_REPORTERS_PER_CALLEE {
        ledger.keep_at(report(&number.to_string(), 1), at(1420)).await;
    }
    assert_eq!(ledger.count("reporters"), MAX_REPORTERS_PER_CALLEE);
}

#[tokio::test]
async fn a_database_of_the_release_before_gets_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../schema.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let (store, _thread) = Store::open(&path).unwrap();
    let kept = store.keep_reports(vec![report("a", 1)], UNIX_EPOCH).await.unwrap();
    assert_eq!(kept, [Kept::New]);
    let again = Store::open(&path).unwrap();
    assert_eq!(
        again.0.keep_reports(vec![report("a", 1)], UNIX_EPOCH).await.unwrap(),
        [Kept::Known]
    );
}
