//! `workloads` and `segments`.

use cellwall_policy::{HttpVersion, Mode, Protocol};

use super::{
    Reader,
    fields::{Fields, Keys},
    idempotent::OF_A_CALL,
};
use crate::{
    codes::Code,
    finding::Problem,
    syntax::{Listener, SegmentItem, Text, WorkloadItem},
    yaml::{Node, Value},
};

const WORKLOAD_KEYS: Keys = Keys {
    known: &["listens", "labels", "id", "identity_header", "attest"],
    later: &["external", "factors", "headers", "rate"],
    elsewhere: &[OF_A_CALL],
};
const SEGMENT_KEYS: Keys =
    Keys { known: &["members", "mode"], later: &["factors", "rate"], elsewhere: &[] };
const LISTENER_KEYS: Keys =
    Keys { known: &["http", "http2", "grpc", "tcp"], later: &[], elsewhere: &[] };
/// The most listeners of one workload.
const MAX_LISTENERS: usize = 16;

impl Reader<'_> {
    pub(super) fn workloads(&mut self, file: &Fields<'_>) {
        let Some(node) = file.get("workloads") else { return };
        for (name, value) in self.named(node, "workloads by name") {
            if name.value == "any" {
                let problem =
                    Problem::error(Code::BadName, name.place, "`any` is a selector, not a name");
                self.problems.push(problem);
            }
            let Some(fields) = self.fields(value, "a workload", &WORKLOAD_KEYS) else { continue };
            let listens = self.required(&fields, "listens", "a workload");
            let item = WorkloadItem {
                listens: listens.map_or_else(Vec::new, |node| self.listeners(node)),
                labels: fields.get("labels").map_or_else(Vec::new, |node| self.labels(node)),
                id: fields.get("id").and_then(|node| self.text(node, "a path")),
                identity_header: self.identity_header(&fields),
                attest: fields.get("attest").map_or_else(Vec::new, |node| self.attest(node)),
                name,
            };
            self.documents.workloads.push(item);
        }
    }

    /// One listener, or a list of some on different ports.
    fn listeners(&mut self, node: &Node) -> Vec<Listener> {
        let Value::List(items) = &node.value else {
            return self.listener(node).into_iter().collect();
        };
        let mut listeners: Vec<Listener> = Vec::new();
        for item in items {
            let Some(listener) = self.listener(item) else { continue };
            match listeners.iter().find(|known| known.port == listener.port) {
                Some(first) => {
                    let message = format!("port {} stands twice", listener.port);
                    let problem = Problem::error(Code::BadListener, listener.place, message)
                        .help("what is spoken on a port is declared once")
                        .related(first.place, "first here");
                    self.problems.push(problem);
                }
                None => listeners.push(listener),
            }
        }
        if items.is_empty() || items.len() > MAX_LISTENERS {
            let message = format!("a workload has 1 to {MAX_LISTENERS} listeners");
            self.problems.push(Problem::error(Code::BadListener, node.place, message));
        }
        listeners
    }

    fn listener(&mut self, node: &Node) -> Option<Listener> {
        let before = self.problems.len();
        let fields = self.fields(node, "a listener", &LISTENER_KEYS)?;
        let mut entries = fields.iter();
        let (Some((protocol, place, value)), None) = (entries.next(), entries.next()) else {
            // An unknown key has been reported already.
            if self.problems.len() == before {
                let message = "a listener has exactly one of `http`, `http2`, `grpc` and `tcp`";
                self.problems.push(Problem::error(Code::BadListener, fields.place, message));
            }
            return None;
        };
        let (protocol, version) = match protocol {
            "http" => (Protocol::Http, HttpVersion::Http1),
            "http2" => (Protocol::Http, HttpVersion::Http2),
            "grpc" => (Protocol::Grpc, HttpVersion::default()),
            _ => (Protocol::Tcp, HttpVersion::default()),
        };
        let port = match value.value {
            Value::Number(port) => u16::try_from(port).ok().filter(|port| *port > 0),
            _ => None,
        };
        let Some(port) = port else {
            let message = "a port is a number from 1 to 65535";
            self.problems.push(Problem::error(Code::BadListener, value.place, message));
            return None;
        };
        let length = (value.place.start + value.place.length).saturating_sub(place.start);
        let place = crate::place::Place::new(place.file, place.start, length);
        Some(Listener { protocol, port, version, place })
    }

    fn labels(&mut self, node: &Node) -> Vec<(Text, Text)> {
        let mut labels = Vec::new();
        for (label, value) in self.named(node, "labels") {
            if let Some(value) = self.name(value, "a label's value") {
                labels.push((label, value));
            }
        }
        labels
    }

    fn attest(&mut self, node: &Node) -> Vec<(Text, Vec<Text>)> {
        let mut attest = Vec::new();
        for (environment, value) in
            self.entries(node, "selectors by environment").unwrap_or_default()
        {
            let mut selectors = Vec::new();
            for item in self.list(value, "a list of selectors") {
                if let Some(selector) = self.text(item, "a selector") {
                    selectors.push(selector);
                }
            }
            attest.push((environment, selectors));
        }
        attest
    }

    pub(super) fn segments(&mut self, file: &Fields<'_>) {
        let Some(node) = file.get("segments") else { return };
        for (name, value) in self.named(node, "segments by name") {
            let Some(fields) = self.fields(value, "a segment", &SEGMENT_KEYS) else { continue };
            let mut members = Vec::new();
            if let Some(node) = self.required(&fields, "members", "a segment") {
                for item in self.list(node, "a list of workloads") {
                    members.extend(self.name(item, "a workload"));
                }
            }
            let mode = self.required(&fields, "mode", "a segment").and_then(|node| self.mode(node));
            // The mode of a segment with a mistake in it is never used.
            let mode = mode.unwrap_or(Mode::Enforce);
            self.documents.segments.push(SegmentItem { name, members, mode });
        }
    }

    pub(super) fn mode(&mut self, node: &Node) -> Option<Mode> {
        let text = self.text(node, "`enforce` or `audit`")?;
        match text.value.as_str() {
            "enforce" => Some(Mode::Enforce),
            "audit" => Some(Mode::Audit),
            other => {
                let message = format!("`{other}` is not a mode");
                let problem = Problem::error(Code::WrongType, text.place, message)
                    .help("a mode is `enforce` or `audit`");
                self.problems.push(problem);
                None
            }
        }
    }
}
