//! Whether a call of a rule is the call that a workload saw.

use super::document::{Call, Selector};

/// As a template declares it, and as it reaches a workload.
pub(super) const ENCODED_SLASH: &str = "%2F";

/// What a caller asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    Http { method: &'a str, path: &'a str },
    Grpc { service: &'a str, method: &'a str },
    Tcp,
}

impl Asked<'_> {
    /// As `listens` spells it.
    pub(super) const fn protocol(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Grpc { .. } => "grpc",
            Self::Tcp => "tcp",
        }
    }

    /// Whether it asks to go on in another protocol: `GET+websocket`.
    pub(super) fn is_upgrade(&self) -> bool {
        match self {
            Self::Http { method, .. } => method.contains('+'),
            Self::Grpc { .. } | Self::Tcp => false,
        }
    }
}

/// How closely one segment of a template fits; more is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// One of `{rest...}`.
    Rest,
    /// `{name}`.
    Parameter,
    /// The same letters.
    Literal,
}

/// The methods and the template of `http: M[,M] /path`.
pub(super) fn http(call: &Call) -> Option<(Vec<&str>, &str)> {
    let (methods, template) = call.http.as_deref()?.split_once(' ')?;
    Some((methods.split(',').map(str::trim).collect(), template.trim()))
}

/// Whether a call says that its requests may go on in `protocol`.
pub(super) fn is_granted(call: &Call, protocol: &str) -> bool {
    match &call.upgrade {
        Some(Selector::One(one)) => one == protocol,
        Some(Selector::List(several)) => several.iter().any(|it| it == protocol),
        Some(Selector::Labels(_)) | None => false,
    }
}

/// How closely each segment of a path fits a template; `None` if one does not. The order of these
/// lists is the order of templates, the closest last. Whether the closest takes an encoded slash is
/// asked of it alone: [`takes`].
pub fn fit(template: &str, path: &str) -> Option<Vec<Fit>> {
    let mut fits = Vec::new();
    let mut templates = template.strip_prefix('/')?.split('/');
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    while segments.peek().is_some() {
        let template = templates.next()?;
        let name = template.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if name.is_some_and(|name| name.ends_with("...")) {
            let rest = segments.collect::<Vec<_>>();
            // One segment or more, none of them empty: a slash at the end is another path.
            let fitting = rest.iter().all(|segment| !segment.is_empty());
            return fitting.then(|| {
                fits.extend(rest.iter().map(|_| Fit::Rest));
                fits
            });
        }
        let segment = segments.next()?;
        match name {
            Some(_) if !segment.is_empty() => fits.push(Fit::Parameter),
            None if template == segment => fits.push(Fit::Literal),
            Some(_) | None => return None,
        }
    }
    templates.next().is_none().then_some(fits)
}

/// Whether a template that fits a path says of each encoded slash in it that it takes it.
pub fn takes(template: &str, path: &str) -> bool {
    let mut said = template.split('/');
    let mut last = "";
    path.split('/').all(|segment| {
        // The last parameter of a template may stand for several segments.
        last = said.next().unwrap_or(last);
        !segment.contains(ENCODED_SLASH) || last.contains(ENCODED_SLASH)
    })
}

/// Whether `grpc: pkg.Service/Method` says exactly this; a `*` is a method's name here.
pub(super) fn is_grpc(call: &Call, service: &str, method: &str) -> bool {
    call.grpc.as_deref().and_then(|call| call.split_once('/')) == Some((service, method))
}

/// Whether servers may disagree on what a path means (HTTP-08, HTTP-09): such a path must not
/// reach a workload at all. An encoded slash is one for some servers; whether a template declares it is
/// the policy's question.
pub(super) fn is_ambiguous(path: &str) -> bool {
    if path.ends_with(ENCODED_SLASH) {
        return true;
    }
    let path = path.replace(ENCODED_SLASH, "/");
    let Some(inner) = path.strip_prefix('/') else { return true };
    let mut segments = inner.split('/');
    // A slash at the end is one segment that is empty, and the last.
    let last = segments.next_back().unwrap_or_default();
    if matches!(last, "." | "..") || segments.any(|segment| matches!(segment, "" | "." | "..")) {
        return true;
    }
    let odd_byte = |byte: u8| byte <= b' ' || byte >= 0x7f || b"\\;?#\"<>^`{|}[]".contains(&byte);
    inner.bytes().any(odd_byte) || inner.split('%').skip(1).any(is_odd_escape)
}

/// Whether what follows a `%` is no pair of upper-case hex digits, or stands for a byte that need
/// not, or must not, be written so.
fn is_odd_escape(rest: &str) -> bool {
    let Some(digits) = rest.get(..2) else { return true };
    let Ok(byte) = u8::from_str_radix(digits, 16) else { return true };
    let plain = byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,=".contains(&byte);
    digits.contains('+')
        || digits != digits.to_uppercase()
        || plain
        || byte < b' '
        || byte == 0x7f
        || b"/\\%;".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fit_segment_by_segment() {
        use Fit::{Literal, Parameter, Rest};
        let check = |template, path, expected: Option<&[Fit]>| {
            assert_eq!(fit(template, path).as_deref(), expected, "{template} {path}");
        };
        check("/v1/payments", "/v1/payments", Some(&[Literal, Literal]));
        check("/v1/payments/{id}", "/v1/payments/7", Some(&[Literal, Literal, Parameter]));
        check("/v1/payments/{id}", "/v1/payments", None);
        check("/v1/payments/{id}", "/v1/payments/", None);
        check("/v1/payments/{id}", "/v1/payments/7/capture", None);
        check("/v1/payments/{id}/capture", "/v1/payments/7/refund", None);
        check("/v1/{rest...}", "/v1/a/b", Some(&[Literal, Rest, Rest]));
        check("/v1/{rest...}", "/v1", None);
        check("/v1/{rest...}", "/v1/", None);
        check("/v1/{rest...}", "/v1/a/", None);
        check("/v1/", "/v1/", Some(&[Literal, Literal]));
        check("/v1", "/v1/", None);
        check("/pay", "/payments", None);
        check("/pay", "/Pay", None);
        check("/", "/", Some(&[Literal]));
        check("/v1/{id}", "/v1/a%2Fb", Some(&[Literal, Parameter]));
        check("/v1/{id%2F}", "/v1/a%2Fb", Some(&[Literal, Parameter]));
        check("/v1/{id%2F}", "/v1/a", Some(&[Literal, Parameter]));
        check("/v1/{id%2F}", "/v1/a/b", None);
        check("/v1/a", "/v1/a%2Fa", None);
        check("/v1/{rest...}", "/v1/a/b%2Fc", Some(&[Literal, Rest, Rest]));
    }

    #[test]
    fn an_encoded_slash_is_taken_by_the_parameter_at_its_place() {
        for (template, path, taken) in [
            ("/v1/{id}", "/v1/a", true),
            ("/v1/{id}", "/v1/a%2Fb", false),
            ("/v1/{id%2F}", "/v1/a%2Fb", true),
            ("/v1/{id%2F}/{key}", "/v1/a%2Fb/c", true),
            ("/v1/{id%2F}/{key}", "/v1/a%2Fb/c%2Fd", false),
            ("/v1/{id%2F}/{rest...}", "/v1/a%2Fb/c/d%2Fe", false),
            ("/v1/{id}/{rest%2F...}", "/v1/a/c/d%2Fe", true),
            ("/v1/{id}/{rest%2F...}", "/v1/a%2Fb/c/d%2Fe", false),
        ] {
            assert_eq!(takes(template, path), taken, "{template} {path}");
        }
    }

    #[test]
    fn a_literal_is_closer_than_a_parameter_and_that_closer_than_the_rest() {
        let path = "/v1/tokens/export";
        let mut fits =
            ["/v1/tokens/export", "/v1/tokens/{token}", "/v1/{rest...}"].map(|t| fit(t, path));
        fits.sort();

        assert_eq!(fits.last().unwrap(), &fit("/v1/tokens/export", path));
        assert_eq!(fits[0], fit("/v1/{rest...}", path));
    }

    #[test]
    fn paths_with_more_than_one_reading_are_ambiguous() {
        let bad = [
            "",
            "a",
            "//a",
            "/a//b",
            "/./a",
            "/a/..",
            "/a/../b",
            "/a%2fb",
            "/a%2F",
            "/%2Fa",
            "/a%2F/b",
            "/a%2F..",
            "/..%2Fa",
            "/a%2F%2Fb",
            "/a%252Fb",
            "/a%5Cb",
            "/a%00",
            "/a\\b",
            "/a;b",
            "/a%3Bb",
            "/a%2e",
            "/%41",
            "/a%3a",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%25",
            "/a%3A",
            "/a%2B",
            "/a b",
            "/a\u{e9}",
            "/a?b",
            "/a#b",
            "//",
            "/a%+1",
        ];
        for path in bad {
            assert!(is_ambiguous(path), "{path}");
        }
        for path in [
            "/",
            "/a%2Fb",
            "/a",
            "/a/",
            "/a/b-c_d~e.f",
            "/a%20",
            "/a:b@c",
            "/...",
            "/a%C3%A9",
            "/*",
        ] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }
}
