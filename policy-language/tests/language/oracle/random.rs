//! Random documents and random calls.

use std::fmt::Write;

use proptest::{prelude::*, sample::select};

use super::naive::Request;

/// Six workloads, two of each protocol; two have a second listener. The last has an `id` of its own.
pub(crate) const WORKLOADS: [(&str, &str); 6] = [
    ("web-a", "{http: 8080}"),
    ("web-b", "[{http: 8081}, {grpc: 9092}]"),
    ("rpc-a", "{grpc: 9090}"),
    ("rpc-b", "{grpc: 9091}"),
    ("raw-a", "{tcp: 5432}"),
    ("raw-b", "[{tcp: 5433}, {tcp: 5434}]"),
];

/// A workload of another trust domain.
pub(crate) const PARTNER: &str = "spiffe://partner.example/settle";

/// When the grants of a document begin and end, in seconds and as it says it.
const GRANTED: [(u64, &str); 2] =
    [(1_000, "1970-01-01T00:16:40Z"), (2_000, "1970-01-01T00:33:20Z")];

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) caller: Caller,
    pub(crate) callee: usize,
    pub(crate) environment: &'static str,
    pub(crate) request: Request,
    /// The group of the connection's key exchange.
    pub(crate) group: &'static str,
    /// When, in Unix seconds.
    pub(crate) now: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Caller {
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
    // What takes an encoded slash does so by its place, so that templates seldom contradict each other.
    (prop::collection::vec(segment(), 0..3), select(vec!["", "", "", "/", "/{rest...}"])).prop_map(
        |(segments, end)| {
            let mut text = String::new();
            for (at, segment) in segments.iter().enumerate() {
                let _ = match *segment {
                    "{x}" if at == 1 => write!(text, "/{{x%2F}}"),
                    "{x}" => write!(text, "/{{x{at}}}"),
                    literal => write!(text, "/{literal}"),
                };
            }
            let loosened = end == "/{rest...}" && segments.len() == 1;
            text.push_str(if loosened { "/{rest%2F...}" } else { end });
            if text.is_empty() { "/".to_owned() } else { text }
        },
    )
}

/// Calls that the workload at this number can receive.
fn calls(callee: usize) -> BoxedStrategy<Vec<String>> {
    let http = (select(vec!["GET", "PUT", "GET,PUT"]), template())
        .prop_map(|(methods, path)| format!("http: \"{methods} {path}\""));
    let grpc = select(vec!["a.A/Get", "a.A/Put", "a.A/*", "b.B/Get", "b.B/*"])
        .prop_map(|call| format!("grpc: \"{call}\""));
    let call = match WORKLOADS[callee].0 {
        "web-a" => http.boxed(),
        "web-b" => prop_oneof![http, grpc].boxed(),
        "rpc-a" | "rpc-b" => grpc.boxed(),
        "raw-a" => Just("tcp: 5432".to_owned()).boxed(),
        _ => select(vec!["tcp: 5433", "tcp: 5434"]).prop_map(str::to_owned).boxed(),
    };
    prop::collection::vec(call, 1..4).boxed()
}

/// A call with what is said of it wherever it is allowed.
fn allowed(call: &str) -> String {
    if call.ends_with("{rest...}\"") {
        return format!("{call}\n        idempotent: method");
    }
    if call.contains("GET") && call.ends_with("/b\"") {
        return format!("{call}\n        upgrade: v");
    }
    if call.contains("GET") && call.ends_with("}\"") {
        return format!("{call}\n        upgrade: [v, w]");
    }
    if call.contains("b.B/*") {
        return format!("{call}\n        idempotent: {{header: Idempotency-Key}}");
    }
    call.to_owned()
}

/// `a == "x"`, `a != b`, `a in ["x"]`.
fn comparison() -> impl Strategy<Value = String> {
    let attributes: Vec<(&str, Vec<&str>)> = vec![
        ("caller.env", vec!["prod", "staging"]),
        ("callee.env", vec!["prod", "staging"]),
        ("caller.workload", vec!["web-a", "rpc-b"]),
        ("callee.workload", vec!["web-a", "rpc-b"]),
        ("caller.segment", vec!["s0", "s1"]),
        ("callee.segment", vec!["s0", "s1"]),
        ("caller.tier", vec!["t0", "t1"]),
        ("callee.tier", vec!["t0", "t1"]),
        ("caller.pci", vec!["cde"]),
        ("callee.pci", vec!["cde"]),
        ("tls.group", vec!["X25519MLKEM768", "X25519"]),
        ("tls.version", vec!["1.3"]),
    ];
    let literal = select(attributes).prop_flat_map(|(name, values)| {
        (Just(name), select(values.clone()), select(values), 0..3usize)
    });
    let literal = literal.prop_map(|(name, one, other, form)| match form {
        0 => format!("{name} == \"{one}\""),
        1 => format!("'{one}' != {name}"),
        _ => format!("{name} in [\"{one}\", '{other}']"),
    });
    let pairs = vec!["env", "workload", "segment", "tier", "pci"];
    let pair = (select(pairs), select(vec!["==", "!="]))
        .prop_map(|(name, sign)| format!("caller.{name} {sign} callee.{name}"));
    prop_oneof![3 => literal, 1 => pair]
}

fn condition() -> impl Strategy<Value = String> {
    comparison().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("!({one})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one} && {other}")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one} || {other}")),
            (inner.clone(), inner).prop_map(|(one, other)| format!("({one} || {other}) && {one}")),
        ]
    })
}

/// `when:` on a line of its own, or nothing.
fn when() -> impl Strategy<Value = String> {
    let condition =
        condition().prop_map(|text| format!("    when: '{}'\n", text.replace('\'', "''")));
    prop_oneof![3 => Just(String::new()), 2 => condition]
}

fn rule() -> impl Strategy<Value = String> {
    (0..WORKLOADS.len()).prop_flat_map(|callee| {
        let across = select(vec!["", "", "", "[env]", "partner"]);
        (selector(), calls(callee), any::<bool>(), when(), across).prop_map(
            move |(from, calls, list, when, across)| {
                let to = WORKLOADS[callee].0;
                let to = if list { format!("[{to}]") } else { to.to_owned() };
                // Who is of another trust domain has no environment.
                let (from, across) = match across {
                    "" => (from, ""),
                    "partner" => (format!("[{PARTNER}, web-b]"), "    across: [env]\n"),
                    _ => (from, "    across: [env]\n"),
                };
                let mut text = format!("    from: {from}\n    to: {to}\n    allow:\n");
                for call in calls {
                    let _ = writeln!(text, "      - {}", allowed(&call));
                }
                text + &when + across
            },
        )
    })
}

fn grant() -> impl Strategy<Value = String> {
    rule().prop_map(|rule| {
        let [(_, starts), (_, expires)] = GRANTED;
        format!(
            "{rule}    starts: {starts}\n    expires: {expires}\n    why: because\n    approved_by: [ann@pay.example, bob@pay.example]\n"
        )
    })
}

fn guard() -> impl Strategy<Value = String> {
    let from = select(vec!["any", "web-a", "rpc-b", "raw-b", "segment/s0", PARTNER]);
    let to = select(vec!["any", "web-a", "web-b", "rpc-b", "raw-b", "segment/s0", "segment/s1"]);
    let except = prop::option::of(prop_oneof![4 => selector(), 1 => Just(PARTNER.to_owned())]);
    let mode = select(vec!["", "", "    mode: enforce\n", "    mode: audit\n"]);
    (from, to, except, mode, when()).prop_flat_map(|(from, to, except, mode, when)| {
        let except = except.filter(|text| text != "any");
        let except = except.map_or_else(String::new, |text| format!("    except: {text}\n"));
        // In the formatter's order, like everything here.
        let head = format!("    deny: {from} -> {to}\n");
        let rest = format!("{except}{when}{mode}");
        let callee = WORKLOADS.iter().position(|(name, _)| *name == to);
        match callee {
            None => Just(head + &rest).boxed(),
            Some(callee) => prop::option::of(calls(callee))
                .prop_map(move |calls| {
                    let mut text = head.clone();
                    if let Some(calls) = calls {
                        text.push_str("    calls:\n");
                        for call in calls {
                            let _ = writeln!(text, "      - {call}");
                        }
                    }
                    text + &rest
                })
                .boxed(),
        }
    })
}

/// A document. Some have mistakes of logic, which are the validator's to find.
pub(crate) fn document() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(0..2usize, WORKLOADS.len()),
        prop::collection::vec(select(vec!["enforce", "audit"]), 2),
        prop::collection::vec(rule(), 4..16),
        prop::collection::vec(grant(), 0..3),
        prop::collection::vec(guard(), 0..2),
        prop::option::of((selector(), calls(0))),
        select(vec!["{env}/{workload}", "x/{env}/{workload}", "{workload}/{env}"]),
    )
        .prop_map(|(homes, modes, rules, grants, guards, role, template)| {
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
                    "  {name}: {{listens: {listens}, labels: {{tier: t{}, kind: {kind}{}}}{id}}}",
                    at % 2,
                    if at == 0 || at == 3 { ", pci: cde" } else { "" }
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
                    let _ = writeln!(text, "      - {}", allowed(&call));
                }
                rules.push(format!("    from: {from}\n    role: helper\n"));
            }
            section(&mut text, "rules", &rules);
            section(&mut text, "grants", &grants);
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
        let why = if item.contains("why:") { "" } else { "    why: because\n" };
        let _ = write!(text, "  - name: n{name}\n{item}{why}");
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

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(/[abc]){0,3}/?",
        1 => "(/[abc]){0,2}/[abc](%2F[abc]){1,2}(/[abc])?/?",
        1 => "(/[abc](%2F[abc])?){1,3}/?",
    ]
}

/// Mostly in the callee's own protocol.
fn request(callee: usize) -> impl Strategy<Value = Request> {
    let weight = |protocol| if WORKLOADS[callee].0.starts_with(protocol) { 12 } else { 1 };
    prop_oneof![
        weight("web") => (select(vec!["GET", "PUT", "POST", "GET+v", "GET+w"]), path()).prop_map(|(method, path)| {
            let path = if path.is_empty() { "/".to_owned() } else { path };
            Request::Http(method.to_owned(), path)
        }),
        weight("rpc") => (select(vec!["a.A", "b.B", "c.C"]), select(vec!["Get", "Put", "get"]))
            .prop_map(|(service, method)| Request::Grpc(service.to_owned(), method.to_owned())),
        weight("raw") => select(vec![5432, 5433, 5434]).prop_map(Request::Tcp),
    ]
}

pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    let environment = || prop_oneof![6 => Just("prod"), 1 => Just("staging")];
    let known = (0..WORKLOADS.len(), environment()).prop_map(|(at, env)| Caller::Workload(at, env));
    let partner = Just(Caller::Id(PARTNER.to_owned()));
    let caller = prop_oneof![8 => known, 2 => caller().prop_map(Caller::Id), 1 => partner];
    let group = select(vec!["X25519MLKEM768", "X25519"]);
    let now = select(vec![0, 999, 1_000, 1_999, 2_000]);
    (caller, 0..WORKLOADS.len(), environment(), group, now).prop_flat_map(
        |(caller, callee, environment, group, now)| {
            request(callee).prop_map(move |request| Asked {
                caller: caller.clone(),
                callee,
                environment,
                request,
                group,
                now,
            })
        },
    )
}
