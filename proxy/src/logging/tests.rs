use std::{
    io,
    sync::{Arc, Mutex},
};

use cellwall_mtls::Refusal;

use super::AccessLog;
use crate::{CloseReason, Direction, Flows, Kind};

/// Collects what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one flow and returns its line, parsed.
fn line(edit: impl FnOnce(&mut crate::flow::Flow), close: CloseReason) -> serde_json::Value {
    let sink = Sink::default();
    let (log, writer) = AccessLog::start(sink.clone()).unwrap();
    let flows = Flows::new(log);
    let mut flow = flows.open(Kind::Call, Direction::Inbound, "127.0.0.1:9".parse().unwrap());
    edit(&mut flow);
    flow.progress.request.end(CloseReason::Done);
    flow.close(close);
    drop(flows);
    writer.join().unwrap();
    let bytes = sink.0.lock().unwrap().clone();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_line_is_one_json_object_whatever_the_caller_sends() {
    // OBS-01: quotes, line ends, escapes and length
    let rpc = format!("a\"}}\r\n\u{1b}[31m{}", "x".repeat(10_000));
    let line = line(|flow| flow.record.rpc = Some(rpc.as_str().into()), CloseReason::Done);
    let logged = line["rpc.method"].as_str().unwrap();
    assert_eq!(logged, rpc.get(..256).unwrap());
    assert_eq!(line["kind"], "call");
    assert_eq!(line["cellwall.reason"], "done");
}

#[test]
fn a_refused_handshake_says_why() {
    // OBS-07
    let line = line(|_| (), CloseReason::TlsRefused(Refusal::UnknownIssuer));
    assert_eq!(line["cellwall.reason"], "tls_refused");
    assert_eq!(line["cellwall.tls.reason"], "unknown_issuer");
    assert_eq!(line["level"], "warn");
}
