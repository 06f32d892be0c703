//! The policy's documents as they are written, in the keys of this release and no others.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::IgnoredAny};

use super::{ROOT, WitnessError};

/// All documents of a policy, put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Documents {
    pub(super) identity: String,
    pub(super) workloads: BTreeMap<String, Workload>,
    pub(super) segments: BTreeMap<String, Segment>,
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) rules: Vec<Rule>,
    pub(super) guards: Vec<Guard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    identity: Option<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    workloads: BTreeMap<String, Workload>,
    #[serde(default)]
    segments: BTreeMap<String, Segment>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    guards: Vec<Guard>,
    /// Claims about the policy, not part of it.
    #[serde(default, rename = "tests")]
    _tests: IgnoredAny,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) listens: BTreeMap<String, u16>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) id: Option<String>,
    /// In which header it is told who calls is not the witness's question.
    #[serde(default, rename = "identity_header")]
    _identity_header: IgnoredAny,
    /// Who gets the identity is not the witness's question.
    #[serde(default, rename = "attest")]
    _attest: IgnoredAny,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    pub(super) members: BTreeSet<String>,
    pub(super) mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Enforce,
    Audit,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    pub(super) to: Selector,
    pub(super) can: Vec<Call>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) from: Selector,
    pub(super) role: Option<String>,
    pub(super) to: Option<Selector>,
    #[serde(default)]
    pub(super) allow: Vec<Call>,
    #[serde(default, rename = "why")]
    _why: IgnoredAny,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guard {
    pub(super) name: String,
    /// `A -> B`.
    pub(super) deny: String,
    pub(super) except: Option<Selector>,
    #[serde(default, rename = "why")]
    _why: IgnoredAny,
}

/// `NAME`, `segment/NAME` or `any`; a list of the first two; or labels that all fit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Selector {
    One(String),
    List(Vec<String>),
    Labels(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    /// `METHOD[,METHOD] /path/{id}`.
    pub(super) http: Option<String>,
    /// `pkg.Service/Method` or `pkg.Service/*`.
    pub(super) grpc: Option<String>,
    pub(super) tcp: Option<u16>,
    /// One protocol that a request may go on in, or several.
    #[serde(default)]
    pub(super) upgrade: Option<Selector>,
    /// What is sent a second time is no question of who may.
    #[serde(default, rename = "idempotent")]
    _idempotent: IgnoredAny,
}

impl Selector {
    /// A selector inside of a text: as above, lists and labels in their brackets.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let inside = |open, close| text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
        if let Some(list) = inside('[', ']') {
            return Ok(Self::List(list.split(',').map(|name| name.trim().to_owned()).collect()));
        }
        let Some(labels) = inside('{', '}') else { return Ok(Self::One(text.to_owned())) };
        let pair = |pair: &str| {
            let (label, value) =
                pair.split_once(':').ok_or_else(|| format!("{pair:?} is no label"))?;
            Ok((label.trim().to_owned(), value.trim().to_owned()))
        };
        labels.split(',').map(pair).collect::<Result<_, _>>().map(Self::Labels)
    }
}

impl Documents {
    pub(super) fn read(files: &BTreeMap<String, String>) -> Result<Self, WitnessError> {
        let error =
            |file: &str, message: String| WitnessError::Document { file: file.to_owned(), message };
        let parse = |name: &str| {
            let text = files.get(name).ok_or_else(|| error(name, "it is missing".to_owned()))?;
            let file = serde_saphyr::from_str::<File>(text);
            let file = file.map_err(|problem| error(name, problem.to_string()))?;
            if file.version != "cellwall/v1" {
                return Err(error(name, format!("unknown version {:?}", file.version)));
            }
            Ok(file)
        };
        let root = parse(ROOT)?;
        let identity = root.identity.clone();
        let identity = identity.ok_or_else(|| error(ROOT, "it has no identity".to_owned()))?;
        let mut documents = Self { identity, ..Self::default() };
        let names = files.keys().filter(|name| *name != ROOT);
        let included = names
            .filter(|name| root.include.iter().any(|pattern| is_matched(pattern, name)))
            .cloned()
            .collect::<Vec<_>>();
        documents.add(root);
        for name in included {
            documents.add(parse(&name)?);
        }
        Ok(documents)
    }

    fn add(&mut self, file: File) {
        self.workloads.extend(file.workloads);
        self.segments.extend(file.segments);
        self.roles.extend(file.roles);
        self.rules.extend(file.rules);
        self.guards.extend(file.guards);
    }
}

/// Whether a path fits a pattern in which `*` stands for any part of one segment.
fn is_matched(pattern: &str, path: &str) -> bool {
    let (patterns, segments) = (pattern.split('/'), path.split('/'));
    patterns.clone().count() == segments.clone().count()
        && patterns.zip(segments).all(|(pattern, segment)| is_segment_matched(pattern, segment))
}

fn is_segment_matched(pattern: &str, segment: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == segment };
    let Some(rest) = segment.strip_prefix(before) else { return false };
    let ends = rest.char_indices().map(|(index, _)| index).chain([rest.len()]);
    ends.filter_map(|end| rest.get(end..)).any(|rest| is_segment_matched(after, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_in_its_segment() {
        let check = |pattern, path, expected| {
            assert_eq!(is_matched(pattern, path), expected, "{pattern} {path}");
        };
        check("segments/*.yaml", "segments/payments.yaml", true);
        check("segments/*.yaml", "segments/a/payments.yaml", false);
        check("*.yaml", "segments/payments.yaml", false);
        check("a*b*c", "aXbYc", true);
        check("a*b*c", "aXcYb", false);
        check("a.yaml", "a.yaml", true);
    }

    #[test]
    fn a_selector_in_a_text_is_a_name_a_list_or_labels() {
        let labels = BTreeMap::from([("tier".to_owned(), "core".to_owned())]);
        let list = Selector::List(vec!["a".to_owned(), "segment/b".to_owned()]);

        assert_eq!(Selector::parse(" any "), Ok(Selector::One("any".to_owned())));
        assert_eq!(Selector::parse("[a, segment/b]"), Ok(list));
        assert_eq!(Selector::parse("{tier: core}"), Ok(Selector::Labels(labels)));
        assert!(Selector::parse("{tier}").is_err());
    }
}
