//! Path templates and request paths: the compiled policy against a matcher of ten lines.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use cellwall_policy::{Call, PathTemplate, Publication, RequestPath, Snapshot, Tls, Tolerated};
use cellwall_policy_language::{Sources, check};
use spiffe::SpiffeId;

/// The most templates of one input.
const MAX_TEMPLATES: usize = 6;
const MAX_TEXT: usize = 1024;

/// The last line is a request's path, those above are templates.
pub(crate) fn path_template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > MAX_TEXT {
        return;
    }
    let (templates, raw) = text.rsplit_once('\n').unwrap_or(("", text));
    let strict = RequestPath::parse(raw);
    let path = RequestPath::tolerating(raw, Tolerated::EncodedSlash);
    if let Ok(path) = &path {
        let again = RequestPath::tolerating(path.as_str(), Tolerated::EncodedSlash);
        assert_eq!(again.as_ref(), Ok(path));
        assert_eq!(strict.as_ref().ok(), path.split().is_none().then_some(path));
        assert!(path.split().is_none_or(|split| RequestPath::parse(split).is_ok()));
    } else {
        assert!(strict.is_err());
    }
    if let Ok(path) = &path {
        let one_reading =
            !path.as_str().contains("//") && !path.as_str().contains(['\\', ';', '?']);
        assert!(one_reading && path.as_str().starts_with('/'));
        assert!(path.as_str().split('/').all(|segment| !matches!(segment, "." | "..")));
    }
    let parsed: Vec<_> = templates.lines().filter_map(parse).take(MAX_TEMPLATES).collect();
    let Ok(path) = path else { return };
    if parsed.is_empty() {
        return;
    }
    // Templates that contradict each other are refused when they are loaded.
    let Some(snapshot) = compiled(&parsed) else { return };
    let declared = parsed.iter().any(|template| template.contains("%2F"));
    assert_eq!(snapshot.tolerates() == Tolerated::EncodedSlash, declared);
    let caller = SpiffeId::new("spiffe://a/caller").unwrap();
    let call = Call::Http { method: "GET", path: &path };
    let tls = Tls { version: "1.3", group: "X25519" };
    let decision = snapshot.decide(&caller, &tls, &call, SystemTime::UNIX_EPOCH);
    let expected = matched(&parsed, path.as_str());
    let route = decision.route.as_deref().map(str::to_owned);
    assert_eq!(route.as_deref(), expected, "{parsed:?} {path:?}");
    assert_eq!(decision.verdict.as_str() == "allow", expected.is_some(), "{parsed:?} {path:?}");
}

fn parse(text: &str) -> Option<&str> {
    let template = PathTemplate::parse(text).ok()?;
    assert_eq!(template.as_str(), text);
    assert_eq!(template.conflict(&template), None);
    Some(text)
}

/// A policy with one rule per template, as its callee gets it.
fn compiled(templates: &[&str]) -> Option<Snapshot> {
    let mut text = "version: cellwall/v1\nidentity: spiffe://a/{workload}\nworkloads:\n  \
                    caller: {listens: {tcp: 1}}\n  callee: {listens: {http: 1}}\nsegments:\n  \
                    all: {members: [caller, callee], mode: enforce}\nrules:\n"
        .to_owned();
    for (number, template) in templates.iter().enumerate() {
        let call = serde_json::to_string(&format!("GET {template}")).unwrap();
        let _ = writeln!(
            text,
            "  - {{name: r{number}, from: caller, to: callee, why: x, allow: [{{http: {call}}}]}}"
        );
    }
    let set = check(&Sources::single(text)).set?;
    let callee = SpiffeId::new("spiffe://a/callee").unwrap();
    let document = set.compile(&callee, &[], &Publication::default(), UNIX_EPOCH).unwrap();
    Some(Snapshot::new(document).unwrap())
}

/// The most specific template that matches.
fn matched<'t>(templates: &[&'t str], path: &str) -> Option<&'t str> {
    let rank = |template: &str| -> Vec<u8> {
        segments(template).map(kind).chain(std::iter::repeat(2)).take(40).collect()
    };
    let matching = templates.iter().copied().filter(|template| {
        let path: Vec<_> = segments(path).collect();
        let template: Vec<_> = segments(template).collect();
        let head = template.iter().filter(|segment| kind(segment) < 2).count();
        let lengths = if head < template.len() { path.len() > head } else { path.len() == head };
        let is_open = head < template.len();
        let tail = path.get(head..).unwrap_or_default();
        lengths
            && template[..head].iter().zip(&path).all(|(one, other)| match kind(one) {
                0 => one == other,
                _ => takes(one, other),
            })
            && (!is_open || tail.iter().all(|segment| takes(template[head], segment)))
    });
    matching.min_by_key(|template| rank(template))
}

/// Whether a parameter stands for a segment: for one with an encoded slash only if it says so.
fn takes(parameter: &str, segment: &str) -> bool {
    !segment.is_empty() && (parameter.contains("%2F") || !segment.contains("%2F"))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

/// 0: literal, 1: `{name}`, 2: `{name...}`.
fn kind(segment: &str) -> u8 {
    match segment.strip_suffix('}') {
        Some(inner) if inner.ends_with("...") => 2,
        Some(_) => 1,
        None => 0,
    }
}
