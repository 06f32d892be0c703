//! W3C Trace Context: which trace a call belongs to, and what we say of it to the next.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Carries the trace and the caller's span.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Carries what tracing systems add; meaningless without the other.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version 00 (§3.2).
const LENGTH: usize = 55;

/// The longest list of tracing systems that a span keeps, and its members (§3.3.1.1, §3.3.1.5).
const MAX_STATE: usize = 512;
const MAX_MEMBERS: usize = 32;

/// The flag of a caller that records its span (§3.2.2.5.1).
pub(crate) const SAMPLED: u8 = 1;

/// The identity of a trace; never all zero (§3.2.2.3).
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct TraceId([u8; 16]);

/// The identity of a span; never all zero (§3.2.2.4).
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct SpanId([u8; 8]);

/// What a caller says of the trace that its call is part of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Parent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) flags: u8,
}

impl TraceId {
    /// `None` for all zeros.
    pub(crate) fn new(octets: [u8; 16]) -> Option<Self> {
        (octets != [0; 16]).then_some(Self(octets))
    }

    /// As it travels in OTLP.
    pub(crate) fn octets(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl SpanId {
    /// `None` for all zeros.
    pub(crate) fn new(octets: [u8; 8]) -> Option<Self> {
        (octets != [0; 8]).then_some(Self(octets))
    }

    /// As it travels in OTLP.
    pub(crate) fn octets(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl Parent {
    /// The caller's, or `None` where it says nothing that can be believed: two lines are none, since
    /// another reader may take the other one.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next()?;
        if lines.next().is_some() {
            return None;
        }
        Self::parse(line.as_bytes())
    }

    /// §3.2, §4.3: version 00 is read whole; of a later one what 00 has, if more follows after a dash.
    fn parse(line: &[u8]) -> Option<Self> {
        let (head, more) = line.split_at_checked(LENGTH)?;
        let mut fields = head.split(|octet| *octet == b'-');
        let mut field = || fields.next();
        let [version] = hex(field()?)?;
        let (trace, span) = (TraceId::new(hex(field()?)?)?, SpanId::new(hex(field()?)?)?);
        let [flags] = hex(field()?)?;
        let whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        whole.then_some(Self { trace, span, flags })
    }

    pub(crate) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// Exactly so many octets in lower case.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    };
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(text.as_chunks().0) {
        let [high, low] = *pair;
        *octet = digit(high)? << 4 | digit(low)?;
    }
    Some(octets)
}

/// All lines of `tracestate` as one, when the list can be read (§3.3.1).
pub(crate) fn state(headers: &HeaderMap) -> Option<Box<str>> {
    let lines: Option<Vec<_>> =
        headers.get_all(TRACESTATE).iter().map(|line| line.to_str().ok()).collect();
    let list = lines?.join(",");
    let members = || list.split(',').map(str::trim).filter(|member| !member.is_empty());
    let mut keys: Vec<_> = members().map(|member| member.split_once('=')).collect::<Option<_>>()?;
    let legal = keys.iter().all(|(key, value)| is_key(key) && is_value(value));
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup_by_key(|(key, _)| *key);
    let fits = list.len() <= MAX_STATE && count <= MAX_MEMBERS && keys.len() == count;
    (legal && fits && count > 0).then(|| list.into())
}

/// §3.3.1.3.1.
fn is_key(key: &str) -> bool {
    let starts = |part: &str, digits: bool| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || digits && c.is_ascii_digit())
    };
    let rest = |part: &str| {
        part.bytes()
            .all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    match key.split_once('@') {
        None => starts(key, true) && rest(key) && key.len() <= 256,
        Some((tenant, system)) => {
            starts(tenant, true)
                && rest(tenant)
                && tenant.len() <= 241
                && starts(system, false)
                && rest(system)
                && system.len() <= 14
        }
    }
}

/// §3.3.1.3.2.
fn is_value(value: &str) -> bool {
    let plain = |octet: u8| matches!(octet, b' '..=b'~') && octet != b',' && octet != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(plain)
}

/// Says to the next whose span is its parent: ours. A trace that begins with it has no list yet.
pub(crate) fn write(headers: &mut HeaderMap, said: Parent, begins: Begins) {
    // §4.3: we speak 00, whatever came, and know of its flags this one.
    let line = format!("00-{:?}-{:?}-{:02x}", said.trace, said.span, said.flags & SAMPLED);
    if let Ok(line) = HeaderValue::from_str(&line) {
        headers.insert(TRACEPARENT, line);
    }
    if begins == Begins::Here {
        headers.remove(TRACESTATE);
    }
}

/// Where a trace begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Begins {
    /// With our own span.
    Here,
    /// Before it.
    Before,
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::{Begins, Parent, SAMPLED, state, write};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    /// Trace, span and flags, as they are read.
    fn read(line: &str) -> Option<(String, String, u8)> {
        let parent = Parent::of(&headers(&[("traceparent", line)]))?;
        Some((format!("{:?}", parent.trace), format!("{:?}", parent.span), parent.flags))
    }

    #[test]
    fn a_parent_is_read_whole_or_not_at_all() {
        // W3C Trace Context §3.2, §4.3
        let good = |flags: u8| Some((TRACE.to_owned(), SPAN.to_owned(), flags));
        let table = [
            (format!("00-{TRACE}-{SPAN}-01"), good(1)),
            (format!("00-{TRACE}-{SPAN}-00"), good(0)),
            (format!("00-{TRACE}-{SPAN}-ff"), good(0xff)),
            (format!("01-{TRACE}-{SPAN}-01"), good(1)),
            (format!("fe-{TRACE}-{SPAN}-01-and-more"), good(1)),
            (format!("01-{TRACE}-{SPAN}-01-"), good(1)),
            (format!("01-{TRACE}-{SPAN}-01."), None),
            (format!("01-{TRACE}-{SPAN}-012"), None),
            (format!("00-{TRACE}-{SPAN}-01-"), None),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("FF-{TRACE}-{SPAN}-01"), None),
            (format!("0-{TRACE}-{SPAN}-01"), None),
            (format!("0g-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{TRACE}-{}-01", SPAN.to_uppercase()), None),
            (format!("00-{TRACE}-{SPAN}-0G"), None),
            (format!("00-{TRACE}-{SPAN}-1"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00_{TRACE}_{SPAN}_01"), None),
            (format!("00-{TRACE}{SPAN}--01"), None),
            (format!("00-{}-0{SPAN}-01", TRACE.get(1..).unwrap()), None),
            (format!(" 00-{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"), None),
            ("garbage".to_owned(), None),
            (String::new(), None),
        ];
        for (line, expected) in table {
            assert_eq!(read(&line), expected, "{line:?}");
        }
        let line = format!("00-{TRACE}-{SPAN}-01");
        let twice = headers(&[("traceparent", &line), ("traceparent", &line)]);
        assert_eq!(Parent::of(&twice), None);
        assert_eq!(Parent::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_list_is_kept_when_it_can_be_read() {
        // §3.3.1
        let many =
            |count: usize| (0..count).map(|it| format!("k{it}=v")).collect::<Vec<_>>().join(",");
        for (lines, expected) in [
            (vec!["rojo=00f067aa0ba902b7,congo=t61"], Some("rojo=00f067aa0ba902b7,congo=t61")),
            (vec!["rojo=1", "congo=2"], Some("rojo=1,congo=2")),
            (vec!["tenant@system=a b"], Some("tenant@system=a b")),
            (vec![many(32).as_str()], Some(many(32).as_str())),
            (vec![many(33).as_str()], None),
            (vec![format!("a={}", "v".repeat(257)).as_str()], None),
            (vec![format!("a={0},b={0}", "v".repeat(256)).as_str()], None),
            (vec!["a=1,a=2"], None),
            (vec!["A=1"], None),
            (vec!["a"], None),
            (vec!["a="], None),
            (vec!["a=b=c"], None),
            (vec!["t@1=b"], None),
            (vec![""], None),
            (vec![], None),
        ] {
            let pairs: Vec<_> = lines.iter().map(|line| ("tracestate", *line)).collect();
            assert_eq!(state(&headers(&pairs)).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_written_is_version_00_and_a_new_trace_has_no_list() {
        let line = format!("cc-{TRACE}-{SPAN}-ff-more");
        let mut map = headers(&[("traceparent", &line), ("tracestate", "a=1")]);
        let parent = Parent::of(&map).unwrap();
        assert!(parent.is_sampled() && !Parent { flags: !SAMPLED, ..parent }.is_sampled());
        write(&mut map, parent, Begins::Before);
        assert_eq!(map["traceparent"], format!("00-{TRACE}-{SPAN}-01"));
        assert_eq!(map["tracestate"], "a=1");
        write(&mut map, parent, Begins::Here);
        assert!(!map.contains_key("tracestate"));
    }
}
