//! Traces (issue 5, item 5): who is sampled is decided before anything is made of it, a sampled call has a
//! span at each sidecar, and no collector does harm to a call.

use std::time::{Duration, Instant};

use cellwall_api::otlp::{
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use cellwall_policy::{Protocol, SnapshotDocument};
use cellwall_testkit::{client, collector::ScriptedCollector, distribution::ReportAnswer};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tonic::Code;

use crate::{
    answers::got,
    forwarding::read_until,
    kit::{DEADLINE, Sidecar, Town, destination, eventually, id, payments, policy},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// How many spans wait at a sidecar.
const QUEUE: usize = 2048;

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Payments' sidecar and checkout's, both with `flags`, and payments itself.
async fn pair(town: &Town, flags: &[&str]) -> (Sidecar, Sidecar, TcpListener) {
    let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plan, rules) = payments();
    let callee = town.told(plan, workload.local_addr().unwrap(), flags).await;
    let callee = town.made_ready(callee, "payments", rules).await;
    town.control.follow("payments", &id("payments"));
    let plan =
        crate::kit::Plan { name: "checkout", speaks: Protocol::Http, outbound: &["payments"] };
    let rules = SnapshotDocument {
        destinations: vec![destination("payments", Protocol::Http)],
        ..policy("checkout", Protocol::Http, &[])
    };
    let caller = town.told(plan, ([127, 0, 0, 1], 1).into(), flags).await;
    let caller = town.made_ready(caller, "checkout", rules).await;
    caller.knows("payments").await;
    (callee, caller, workload)
}

fn flag(collector: &ScriptedCollector) -> String {
    format!("--otlp=http://{}", collector.address())
}

/// One call with these headers through both sidecars: the lines about traces that payments gets.
async fn called(caller: &Sidecar, workload: &TcpListener, headers: &str) -> Vec<String> {
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let call =
        format!("GET /v1/payments/p_1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    app.write_all(call.as_bytes()).await.unwrap();
    let (mut tcp, _) = workload.accept().await.unwrap();
    let came = read_until(&mut tcp, "\r\n\r\n").await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    tcp.write_all(answer).await.unwrap();
    assert!(got(&mut app).await.starts_with("HTTP/1.1 200 "));
    let lines = came.lines().filter(|line| line.starts_with("trace"));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort_by_key(|line| line.split(':').next().map(str::to_owned)); // only within a name
    lines
}

/// An attribute as text.
fn said(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

#[tokio::test]
async fn a_sampled_call_is_a_chain_of_spans_from_the_caller_to_the_workload() {
    let town = Town::new().await;
    let collector = ScriptedCollector::start().await.unwrap();
    let (_callee, caller, workload) = pair(&town, &[&flag(&collector)]).await;
    let headers = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: rojo=1\r\n");
    let came = called(&caller, &workload, &headers).await;
    collector.until(DEADLINE, |it| it.spans().len() >= 2).await.unwrap();
    let spans = collector.spans();
    let of = |kind: SpanKind| spans.iter().find(|one| one.kind == i32::from(kind)).unwrap();
    let (client, server) = (of(SpanKind::Client), of(SpanKind::Server));
    assert_eq!(spans.len(), 2);
    let ids = |span: &Span| {
        [&span.trace_id, &span.parent_span_id, &span.span_id].map(|octets| hex(octets))
    };
    let (first, second) = (hex(&client.span_id), hex(&server.span_id));
    assert_eq!(ids(client), [TRACE, SPAN, &first]);
    assert_eq!(ids(server), [TRACE, &first, &second]);
    assert!(first != SPAN && second != SPAN && first != second);
    // The workload's own span is a child of the callee's sidecar's.
    let parent = format!("traceparent: 00-{TRACE}-{second}-01");
    assert_eq!(came, [parent, "tracestate: rojo=1".to_owned()]);
    assert_eq!([&client.trace_state, &server.trace_state], ["rojo=1", "rojo=1"]);
    assert_eq!([&*client.name, &*server.name], ["GET", "GET /v1/payments/{id}"]);
    assert!(client.start_time_unix_nano <= server.start_time_unix_nano);
    assert!(server.end_time_unix_nano > server.start_time_unix_nano);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v1/payments/{id}"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "2"),
        ("cellwall.caller.id", "spiffe://pay.example/prod/checkout"),
        ("cellwall.callee.id", "spiffe://pay.example/prod/payments"),
        ("cellwall.reason", "done"),
        ("cellwall.fate", "done"),
    ] {
        assert_eq!(said(server, key).as_deref(), Some(value), "{key}: {server:?}");
    }
    assert_eq!(said(server, "error.type"), None);
    assert_eq!(server.status.as_ref().unwrap().code, i32::from(StatusCode::Unset));
    assert_eq!((server.events.len(), &*server.events[0].name), (1, "authz"));
    let resource = collector.batches().swap_remove(0).spans.swap_remove(0).resource.unwrap();
    assert!(resource.attributes.iter().any(|one| one.key == "service.name"), "{resource:?}");
}

#[tokio::test]
async fn a_call_that_is_not_sampled_passes_byte_for_byte_and_has_no_span() {
    let town = Town::new().await;
    let collector = ScriptedCollector::start().await.unwrap();
    let (_callee, caller, workload) = pair(&town, &[&flag(&collector)]).await;
    for lines in [
        vec![format!("traceparent: 00-{TRACE}-{SPAN}-00")],
        vec![format!("traceparent: 00-{TRACE}-{SPAN}-02"), "tracestate: rojo=1".to_owned()],
        vec![format!("traceparent: cc-{TRACE}-{SPAN}-00-more"), "tracestate: A==,".to_owned()],
        vec![format!("traceparent: ff-{TRACE}-{SPAN}-01")],
        vec![format!("traceparent: 00-{}-{SPAN}-01", "0".repeat(32))],
        vec![format!("traceparent: 00-{TRACE}-{SPAN}-01"); 2],
        vec!["traceparent: nonsense".to_owned(), "tracestate: rojo=1".to_owned()],
        vec!["tracestate: a=1".to_owned(), "tracestate: b=2".to_owned()],
        vec![],
    ] {
        let headers: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        assert_eq!(called(&caller, &workload, &headers).await, lines);
    }
    // One that is comes after all of them, and alone.
    called(&caller, &workload, &format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n")).await;
    collector.until(DEADLINE, |it| it.spans().len() >= 2).await.unwrap();
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn with_a_ratio_a_call_without_a_trace_begins_one_and_a_parents_no_is_a_no() {
    let town = Town::new().await;
    let collector = ScriptedCollector::start().await.unwrap();
    let flags = [&*flag(&collector), "--trace-ratio=1"];
    let (_callee, caller, workload) = pair(&town, &flags).await;
    let no = format!("traceparent: 00-{TRACE}-{SPAN}-00");
    assert_eq!(called(&caller, &workload, &format!("{no}\r\n")).await, [no]);
    // What cannot be believed goes, with the list that belonged to it.
    let came = called(&caller, &workload, "traceparent: nonsense\r\ntracestate: a=1\r\n").await;
    collector.until(DEADLINE, |it| it.spans().len() >= 2).await.unwrap();
    let spans = collector.spans();
    assert_eq!(spans.len(), 2);
    let root = spans.iter().find(|one| one.parent_span_id.is_empty()).unwrap();
    let child = spans.iter().find(|one| one.parent_span_id == root.span_id).unwrap();
    assert_eq!(child.trace_id, root.trace_id);
    let (trace, span) = (hex(&root.trace_id), hex(&child.span_id));
    assert_eq!(came, [format!("traceparent: 00-{trace}-{span}-01")]);
}

/// So many denied calls that are sampled, over one connection; the slowest.
async fn denied(town: &Town, callee: &Sidecar, calls: usize) -> Duration {
    let mut connection = callee.http(&town.svid("notifier")).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..calls {
        let request = client::build("POST /v1/payments").unwrap();
        let request = request.header("traceparent", format!("00-{TRACE}-{SPAN}-01"));
        let began = Instant::now();
        let answer = connection.send(request.body(Default::default()).unwrap()).await.unwrap();
        slowest = slowest.max(began.elapsed());
        assert_eq!(answer.status(), 403);
    }
    slowest
}

async fn dropped(callee: &Sidecar, reason: &str) -> f64 {
    callee.metrics().await.sum("cellwall_spans_dropped_total", &[("reason", reason)])
}

async fn exported(callee: &Sidecar) -> f64 {
    callee.metrics().await.sum("cellwall_spans_exported_total", &[])
}

async fn callee(town: &Town, collector: &str) -> Sidecar {
    let (plan, rules) = payments();
    let callee = town.told(plan, ([127, 0, 0, 1], 1).into(), &[collector]).await;
    town.made_ready(callee, "payments", rules).await
}

#[tokio::test]
async fn calls_do_not_wait_for_a_collector_that_hangs_and_each_drop_is_counted() {
    // OBS-03
    let town = Town::new().await;
    let collector = ScriptedCollector::start().await.unwrap();
    collector.answer(ReportAnswer::Never);
    let callee = callee(&town, &flag(&collector)).await;
    denied(&town, &callee, 1).await;
    collector.until(DEADLINE, |it| !it.batches().is_empty()).await.unwrap();
    // One is under way, as many as fit wait, and the rest is lost.
    let slowest = denied(&town, &callee, QUEUE + 100).await;
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    eventually("the drops", async || dropped(&callee, "queue").await == 100.0).await;
    assert_eq!((exported(&callee).await, dropped(&callee, "refused").await), (0.0, 0.0));
}

#[tokio::test]
async fn spans_wait_for_a_collector_that_is_away() {
    let town = Town::new().await;
    let collector = ScriptedCollector::start().await.unwrap();
    let (address, flag) = (collector.address(), flag(&collector));
    collector.stop().await;
    let mut callee = callee(&town, &flag).await;
    denied(&town, &callee, 3).await;
    let line = callee.process.message("the collector of spans", DEADLINE).await.unwrap();
    assert_eq!(line["away"], true);
    let collector = ScriptedCollector::start_on(address).await.unwrap();
    collector.until(DEADLINE, |it| it.spans().len() == 3).await.unwrap();
    eventually("the count", async || exported(&callee).await == 3.0).await;
    assert_eq!(dropped(&callee, "queue").await, 0.0);
}

#[tokio::test]
async fn what_a_collector_refuses_is_not_sent_again_and_what_it_may_take_later_is() {
    let town = Town::new().await;
    let collector = ScriptedCollector::start().await.unwrap();
    let callee = callee(&town, &flag(&collector)).await;
    collector.answer(ReportAnswer::Refuse(Code::InvalidArgument));
    denied(&town, &callee, 2).await;
    eventually("the drops", async || dropped(&callee, "refused").await == 2.0).await;
    let before = collector.batches().len();
    collector.answer(ReportAnswer::Refuse(Code::Unavailable));
    denied(&town, &callee, 2).await;
    collector.until(DEADLINE, |it| it.batches().len() >= before + 2).await.unwrap();
    collector.answer(ReportAnswer::Keep);
    collector.until(DEADLINE, |it| it.spans().len() == 2).await.unwrap();
    assert_eq!(dropped(&callee, "refused").await, 2.0);
}

#[tokio::test]
async fn the_last_spans_go_within_the_drain_and_a_hanging_collector_does_not_hold_it_up() {
    let town = Town::new().await;
    for answer in [ReportAnswer::Keep, ReportAnswer::Never] {
        let collector = ScriptedCollector::start().await.unwrap();
        collector.answer(answer);
        let mut callee = callee(&town, &flag(&collector)).await;
        denied(&town, &callee, 2).await;
        let began = Instant::now();
        let status = callee.process.stop(DEADLINE).await.unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        if answer == ReportAnswer::Keep {
            assert_eq!(collector.spans().len(), 2);
        } else {
            let what = "spans not exported before the end";
            assert_eq!(callee.process.message(what, DEADLINE).await.unwrap()["spans"], 2);
        }
    }
}
