//! Random documents and random calls.

use std::fmt::Write;

use proptest::{prelude::*, sample::select};

use super::naive::Request;

/// Six workloads, two of each protocol. The last has an `id` of its own.
pub(super) const WORKLOADS: [(&str, &str); 6] = [
    ("web-a", "http: 8080"),
    ("web-b", "http: 8081"),
    ("rpc-a", "grpc: 9090"),
    ("rpc-b", "grpc: 9091"),
    ("raw-a", "tcp: 5432"),
    ("raw-b", "tcp: 5433"),
];

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) caller: Caller,
    pub(super) callee: usize,
    pub(super) environment: &'static str,
    pub(super) request: Request,
}

#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// A workload by number, in an environment.
    Workload(usize, &'static str),
    /// Any ID, mostly nobody's.
    Id(String),
}

fn selector() -> impl Strategy<Value = String> {
    let pick = || {
        prop_oneof![
            4 => select(&WORKLOADS[..]).prop_map(|(name, _)| name.to_owned()),
            1 => select(vec!["segment/s0", "segment/s1"]).prop_map(str::to_owned),
        ]
    };
    prop_oneof![
        4 => pick(),
        2 => prop::collection::vec(pick(), 1..4).prop_map(|picks| format!("[{}]", picks.join(", "))),
        1 => select(vec!["{tier: t0}", "{tier: t1}", "{tier: t0, kind: k}"]).prop_map(str::to_owned),
        1 => Just("any".to_owned()),
    ]
}

fn template() -> impl Strategy<Value = String> {
    let segment = || select(vec!["a", "b", "{x}"]);
    (prop::collection::vec(segment(), 0..3), select(vec!["", "", "", "/", "/{rest...}"])).prop_map(
        |(segments, end)| {
            let mut text = String::new();
            for (at, segment) in segments.iter().enumerate() {
                let _ = match *segment {
                    "{x}" => write!(text, "/{{x{at}}}"),
                    literal => write!(text, "/{literal}"),
                };
            }
            text.push_str(end);
            if text.is_empty() { "/".to_owned() } else { text }
        },
    )
}

/// Calls that the workload at this number can receive.
fn calls(callee: usize) -> BoxedStrategy<Vec<String>> {
    match WORKLOADS[callee].0.split('-').next() {
        Some("web") => {
            prop::collection::vec((select(vec!["GET", "PUT", "GET,PUT"]), template()), 1..4)
                .prop_map(|calls| {
                    calls
                        .iter()
                        .map(|(methods, path)| format!("http: \"{methods} {path}\""))
                        .collect()
                })
                .boxed()
        }
        Some("rpc") => {
            let call = select(vec!["a.A/Get", "a.A/Put", "a.A/*", "b.B/Get", "b.B/*"]);
            prop::collection::vec(call, 1..4)
                .prop_map(|calls| calls.iter().map(|call| format!("grpc: \"{call}\"")).collect())
                .boxed()
        }
        _ => Just(vec![WORKLOADS[callee].1.to_owned()]).boxed(),
    }
}

fn rule() -> impl Strategy<Value = String> {
    (0..WORKLOADS.len()).prop_flat_map(|callee| {
        (selector(), calls(callee), any::<bool>()).prop_map(move |(from, calls, list)| {
            let to = WORKLOADS[callee].0;
            let to = if list { format!("[{to}]") } else { to.to_owned() };
            let mut text = format!("    from: {from}\n    to: {to}\n    allow:\n");
            for call in calls {
                let _ = writeln!(text, "      - {call}");
            }
            text
        })
    })
}

fn guard() -> impl Strategy<Value = String> {
    let side = || select(vec!["any", "web-a", "rpc-b", "raw-b", "segment/s0", "segment/s1"]);
    (side(), side(), prop::option::of(selector())).prop_map(|(from, to, except)| {
        let except = except.filter(|text| text != "any");
        let except = except.map_or_else(String::new, |text| format!("    except: {text}\n"));
        format!("    deny: {from} -> {to}\n{except}")
    })
}

/// A document. Some have mistakes of logic, which are the validator's to find.
pub(super) fn document() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(0..2usize, WORKLOADS.len()),
        prop::collection::vec(select(vec!["enforce", "audit"]), 2),
        prop::collection::vec(rule(), 1..9),
        prop::collection::vec(guard(), 0..2),
        prop::option::of((selector(), calls(0))),
        select(vec!["{env}/{workload}", "x/{env}/{workload}", "{workload}/{env}"]),
    )
        .prop_map(|(homes, modes, rules, guards, role, template)| {
            let mut text = format!(
                "version: cellwall/v1\nidentity: \"spiffe://pay.example/{template}\"\nworkloads:\n"
            );
            for (at, (name, listens)) in WORKLOADS.iter().enumerate() {
                let kind = if at < 3 { "k" } else { "l" };
                let id = match (*name, template) {
                    ("raw-b", "{env}/{workload}") => ", id: \"/{env}/vm/raw-b\"",
                    ("raw-b", "{workload}/{env}") => ", id: \"/raw/{env}/vm\"",
                    _ => "",
                };
                let _ = writeln!(
                    text,
                    "  {name}: {{listens: {{{listens}}}, labels: {{tier: t{}, kind: {kind}}}{id}}}",
                    at % 2
                );
            }
            text.push_str("segments:\n");
            for (at, mode) in modes.iter().enumerate() {
                let members: Vec<_> = WORKLOADS
                    .iter()
                    .zip(&homes)
                    .filter(|(_, home)| **home == at)
                    .map(|((name, _), _)| *name)
                    .collect();
                let members = members.join(", ");
                let _ = writeln!(text, "  s{at}: {{members: [{members}], mode: {mode}}}");
            }
            let mut rules: Vec<_> = rules;
            if let Some((from, calls)) = role {
                text.push_str("roles:\n  helper:\n    to: web-a\n    can:\n");
                for call in calls {
                    let _ = writeln!(text, "      - {call}");
                }
                rules.push(format!("    from: {from}\n    role: helper\n"));
            }
            section(&mut text, "rules", &rules);
            section(&mut text, "guards", &guards);
            text
        })
}

/// Names run against the order of the text, so that the order cannot decide.
fn section(text: &mut String, head: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "{head}:");
    for (at, item) in items.iter().enumerate() {
        let name = items.len() - at;
        let _ = write!(text, "  - name: n{name}\n{item}    why: because\n");
    }
}

fn caller() -> impl Strategy<Value = String> {
    let name = || {
        prop_oneof![
            6 => select(&WORKLOADS[..]).prop_map(|(name, _)| name.to_owned()),
            1 => select(vec!["vm/raw-b", "raw", "nobody", "web-", "web-a/b", "Web-a"])
                .prop_map(str::to_owned),
        ]
    };
    let environment = || select(vec!["prod", "prod", "prod", "staging", "prod2", "cellwall", "x"]);
    prop_oneof![
        8 => (environment(), name()).prop_map(|(env, name)| format!("{env}/{name}")),
        3 => (environment(), name()).prop_map(|(env, name)| format!("x/{env}/{name}")),
        3 => (environment(), name()).prop_map(|(env, name)| format!("{name}/{env}")),
        1 => Just("raw/prod/vm".to_owned()),
        1 => Just("prod".to_owned()),
    ]
    .prop_flat_map(|path| {
        let domain = prop_oneof![12 => Just("pay.example"), 1 => Just("other.example")];
        domain.prop_map(move |domain| format!("spiffe://{domain}/{path}"))
    })
}

/// Mostly in the callee's own protocol.
fn request(callee: usize) -> impl Strategy<Value = Request> {
    let weight = |protocol| if WORKLOADS[callee].0.starts_with(protocol) { 12 } else { 1 };
    prop_oneof![
        weight("web") => (select(vec!["GET", "PUT", "POST"]), "(/[abc]){0,3}/?").prop_map(|(method, path)| {
            let path = if path.is_empty() { "/".to_owned() } else { path };
            Request::Http(method.to_owned(), path)
        }),
        weight("rpc") => (select(vec!["a.A", "b.B", "c.C"]), select(vec!["Get", "Put", "get"]))
            .prop_map(|(service, method)| Request::Grpc(service.to_owned(), method.to_owned())),
        weight("raw") => Just(Request::Tcp),
    ]
}

pub(super) fn asked() -> impl Strategy<Value = Asked> {
    let environment = || prop_oneof![6 => Just("prod"), 1 => Just("staging")];
    let known = (0..WORKLOADS.len(), environment()).prop_map(|(at, env)| Caller::Workload(at, env));
    let caller = prop_oneof![8 => known, 2 => caller().prop_map(Caller::Id)];
    (caller, 0..WORKLOADS.len(), environment()).prop_flat_map(|(caller, callee, environment)| {
        request(callee).prop_map(move |request| Asked {
            caller: caller.clone(),
            callee,
            environment,
            request,
        })
    })
}
