//! Which calls a workload makes for which request, and the one line of text that says so.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// A kind of request, and the calls that answering it takes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The request; a path may have parameters, `/v1/payments/{id}`.
    pub on: Call,
    /// The calls.
    pub steps: Vec<Step>,
}

/// One call to another workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The name of the destination.
    pub to: String,
    /// What to call there. Parameters are filled in from the request; `{seq}` is a number that
    /// counts up.
    pub call: Call,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `METHOD /path`.
    Http {
        /// In upper case.
        method: String,
        /// From `/` on.
        path: String,
    },
    /// `pkg.Service/Method`.
    Grpc {
        /// `pkg.Service`.
        service: String,
        /// `Method`.
        method: String,
    },
    /// `tcp`: one line and its answer.
    Tcp,
}

/// A text that is no route, call or step.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is no `=>`.
    #[error("expected `CALL => TO CALL; TO CALL`, found {0:?}")]
    NoArrow(String),
    /// A step is not a destination and a call.
    #[error("expected `TO CALL`, found {0:?}")]
    Step(String),
    /// Neither `METHOD /path` nor `pkg.Service/Method` nor `tcp`.
    #[error("expected `METHOD /path`, `pkg.Service/Method` or `tcp`, found {0:?}")]
    Call(String),
}

/// Values of path parameters by name.
pub(super) type Parameters = BTreeMap<String, String>;

impl Route {
    /// The first route for this call.
    pub(super) fn find<'a>(routes: &'a [Self], call: &Call) -> Option<(&'a Self, Parameters)> {
        routes.iter().find_map(|route| Some((route, route.on.matches(call)?)))
    }
}

impl Call {
    fn matches(&self, call: &Self) -> Option<Parameters> {
        match (self, call) {
            (Self::Http { method, path }, Self::Http { method: used, path: asked }) => {
                (method == used).then(|| parameters(path, asked)).flatten()
            }
            (Self::Grpc { .. }, Self::Grpc { .. }) | (Self::Tcp, Self::Tcp) => {
                (self == call).then(Parameters::new)
            }
            (Self::Http { .. } | Self::Grpc { .. } | Self::Tcp, _) => None,
        }
    }
}

/// Segment by segment; `{name}` stands for any one segment.
fn parameters(template: &str, path: &str) -> Option<Parameters> {
    let (templates, segments) = (template.split('/'), path.split('/'));
    if templates.clone().count() != segments.clone().count() {
        return None;
    }
    let mut found = Parameters::new();
    for (template, segment) in templates.zip(segments) {
        match template.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => {
                found.insert(name.to_owned(), segment.to_owned());
            }
            None if template == segment => {}
            None => return None,
        }
    }
    Some(found)
}

/// Puts values where a template has parameters.
pub(super) fn fill(template: &str, parameters: &Parameters, sequence: u64) -> String {
    let filled = template.replace("{seq}", &sequence.to_string());
    parameters
        .iter()
        .fold(filled, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let (on, steps) =
            text.split_once("=>").ok_or_else(|| RouteError::NoArrow(text.to_owned()))?;
        let steps = steps.split(';').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { on: on.parse()?, steps })
    }
}

impl FromStr for Step {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let error = || RouteError::Step(text.trim().to_owned());
        let (to, call) = text.trim().split_once(' ').ok_or_else(error)?;
        Ok(Self { to: to.to_owned(), call: call.parse()? })
    }
}

impl FromStr for Call {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let text = text.trim();
        let error = || RouteError::Call(text.to_owned());
        if text == "tcp" {
            return Ok(Self::Tcp);
        }
        if let Some((method, path)) = text.split_once(' ') {
            let path = path.trim();
            return if path.starts_with('/') {
                Ok(Self::Http { method: method.to_owned(), path: path.to_owned() })
            } else {
                Err(error())
            };
        }
        let (service, method) = text.split_once('/').ok_or_else(error)?;
        if service.is_empty() || method.is_empty() || method.contains('/') {
            return Err(error());
        }
        Ok(Self::Grpc { service: service.to_owned(), method: method.to_owned() })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to, self.call)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { method, path } => write!(f, "{method} {path}"),
            Self::Grpc { service, method } => write!(f, "{service}/{method}"),
            Self::Tcp => f.write_str("tcp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_call_and_the_steps_after_the_arrow() {
        let text = "POST /v1/orders/{id} => vault POST /v1/tokens; fraud f.v1.Fraud/Score; db tcp";
        let route = text.parse::<Route>().unwrap();
        let steps = route.steps.iter().map(ToString::to_string).collect::<Vec<_>>();

        assert_eq!(route.on.to_string(), "POST /v1/orders/{id}");
        assert_eq!(steps, ["vault POST /v1/tokens", "fraud f.v1.Fraud/Score", "db tcp"]);
    }

    #[test]
    fn what_is_no_route_is_refused_with_the_text_in_question() {
        let check = |text: &str, error| assert_eq!(text.parse::<Route>(), Err(error), "{text}");
        check("POST /a", RouteError::NoArrow("POST /a".into()));
        check("POST /a => vault", RouteError::Step("vault".into()));
        check("POST /a => vault POST a", RouteError::Call("POST a".into()));
        check("/a => vault POST /a", RouteError::Call("/a".into()));
        check("POST /a => ", RouteError::Step(String::new()));
    }

    #[test]
    fn parameters_stand_for_whole_segments() {
        let check = |template, path, expected: Option<&[(&str, &str)]>| {
            let expected = expected.map(|pairs| {
                pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
            });
            assert_eq!(parameters(template, path), expected, "{template} {path}");
        };
        check("/a/{id}", "/a/7", Some(&[("id", "7")]));
        check("/a/{id}/b", "/a/7/b", Some(&[("id", "7")]));
        check("/a/{id}", "/a/7/b", None);
        check("/a", "/b", None);
    }

    #[test]
    fn parameters_of_the_request_and_a_number_fill_a_step() {
        let parameters = Parameters::from([("id".into(), "p_1".into())]);
        assert_eq!(fill("/v1/{id}/x/{seq}", &parameters, 9), "/v1/p_1/x/9");
    }
}
