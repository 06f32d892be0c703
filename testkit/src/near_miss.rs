//! Near misses: names that differ from an allowed SPIFFE ID by as little as an attacker could wish.
//!
//! Each is either no SPIFFE ID at all, or one that no policy for the allowed ID may let in (AZ-04,
//! SPID-09). They are made from the allowed one by rule, so that none is forgotten for it.

use std::collections::BTreeSet;

/// One name, and which trick it plays.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NearMiss {
    /// The trick.
    pub trick: &'static str,
    /// The name as bytes of a certificate would spell it.
    pub id: String,
}

/// The three parts of the ID that is bent.
struct Base<'a> {
    domain: &'a str,
    environment: &'a str,
    rest: &'a str,
}

/// Every near miss of `allowed`, each once, in a fixed order. `allowed` is
/// `spiffe://TRUST-DOMAIN/ENVIRONMENT/WORKLOAD`, the workload of one segment or more.
pub fn near_misses(allowed: &str) -> Vec<NearMiss> {
    let path = allowed.strip_prefix("spiffe://").unwrap_or(allowed);
    let (domain, path) = path.split_once('/').unwrap_or((path, ""));
    let (environment, rest) = path.split_once('/').unwrap_or((path, ""));
    let base = Base { domain, environment, rest };
    let mut seen = BTreeSet::from([allowed.to_owned()]);
    let families: [(&'static str, Vec<String>); 12] = [
        ("letter case", base.letter_case()),
        ("one character", base.one_character()),
        ("a dot as a wildcard", base.dots()),
        ("lookalike", base.lookalikes()),
        ("percent-encoding", base.percent()),
        ("segments", base.segments()),
        ("environment", base.environments()),
        ("trust domain", base.trust_domains()),
        ("template", base.templates()),
        ("reserved", base.reserved()),
        ("syntax", base.syntax()),
        ("length", base.lengths()),
    ];
    let all = families
        .into_iter()
        .flat_map(|(trick, ids)| ids.into_iter().map(move |id| NearMiss { trick, id }));
    all.filter(|miss| seen.insert(miss.id.clone())).collect()
}

/// `text` with each of its letters in turn replaced by what `change` makes of it.
fn each_letter(text: &str, change: impl Fn(char) -> Option<String>) -> Vec<String> {
    let changed = text.char_indices().filter_map(|(at, letter)| {
        let (before, after) = (text.get(..at)?, text.get(at + letter.len_utf8()..)?);
        Some(format!("{before}{}{after}", change(letter)?))
    });
    changed.collect()
}

impl Base<'_> {
    fn id(&self, domain: &str, environment: &str, rest: &str) -> String {
        format!("spiffe://{domain}/{environment}/{rest}")
    }

    /// One letter in turn, in each of the three parts.
    fn anywhere(&self, change: impl Fn(char) -> Option<String> + Copy) -> Vec<String> {
        let domains = each_letter(self.domain, change).into_iter();
        let environments = each_letter(self.environment, change).into_iter();
        let rests = each_letter(self.rest, change).into_iter();
        domains
            .map(|domain| self.id(&domain, self.environment, self.rest))
            .chain(environments.map(|environment| self.id(self.domain, &environment, self.rest)))
            .chain(rests.map(|rest| self.id(self.domain, self.environment, &rest)))
            .collect()
    }

    fn rests(&self, all: &[String]) -> Vec<String> {
        all.iter().map(|rest| self.id(self.domain, self.environment, rest)).collect()
    }

    fn letter_case(&self) -> Vec<String> {
        let upper = |letter: char| {
            letter.is_ascii_lowercase().then(|| letter.to_ascii_uppercase().to_string())
        };
        let mut all = self.anywhere(upper);
        all.push(self.id(self.domain, self.environment, &self.rest.to_uppercase()));
        all.push(self.id(self.domain, &self.environment.to_uppercase(), self.rest));
        all.push(self.id(&self.domain.to_uppercase(), self.environment, self.rest));
        let plain = self.id(self.domain, self.environment, self.rest);
        all.push(plain.replacen("spiffe", "SPIFFE", 1));
        all.push(plain.to_uppercase());
        all
    }

    fn one_character(&self) -> Vec<String> {
        let mut all = self.anywhere(|_| Some(String::new()));
        all.extend(self.anywhere(|letter| Some(format!("{letter}{letter}"))));
        let rest = self.rest;
        for extra in ["0", "a", "-", "_", "."] {
            all.extend(self.rests(&[format!("{rest}{extra}"), format!("{extra}{rest}")]));
        }
        all
    }

    /// AZ-04: where an ID is taken for a pattern, a dot of it stands for any character.
    fn dots(&self) -> Vec<String> {
        let mut all =
            self.anywhere(|letter| letter.is_ascii_alphanumeric().then(|| ".".to_owned()));
        for other in ["x", "-", "_", ""] {
            all.extend(self.anywhere(|letter| (letter == '.').then(|| other.to_owned())));
        }
        let patterns = ["*", ".*", ".+", "...", "[a-z]", "(.*)", "?", "\\w", "^", "$", "**"];
        all.extend(self.rests(&patterns.map(str::to_owned)));
        all.extend(patterns.map(|pattern| self.id(self.domain, pattern, self.rest)));
        all
    }

    fn lookalikes(&self) -> Vec<String> {
        let twin = |letter| match letter {
            'a' => Some("а"), // Cyrillic, all of these
            'c' => Some("с"),
            'd' => Some("ԁ"),
            'e' => Some("е"),
            'h' => Some("һ"),
            'k' => Some("к"),
            'm' => Some("м"),
            'o' => Some("о"),
            'p' => Some("р"),
            't' => Some("т"),
            'u' => Some("υ"),
            'y' => Some("у"),
            _ => None,
        };
        let ascii_twin = |letter| match letter {
            'o' => Some("0"),
            'l' => Some("1"),
            'e' => Some("3"),
            't' => Some("7"),
            'u' => Some("v"),
            'm' => Some("rn"),
            'd' => Some("cl"),
            _ => None,
        };
        let mut all = self.anywhere(|letter| twin(letter).map(str::to_owned));
        all.extend(self.anywhere(|letter| ascii_twin(letter).map(str::to_owned)));
        // Characters that no one sees: zero width, soft hyphen, right-to-left, byte order.
        for hidden in ["\u{200b}", "\u{200d}", "\u{ad}", "\u{202e}", "\u{feff}", "\u{301}"] {
            let rest = self.rest;
            all.extend(self.rests(&[format!("{rest}{hidden}"), format!("{hidden}{rest}")]));
        }
        all
    }

    fn percent(&self) -> Vec<String> {
        let encoded = |letter: char| {
            letter.is_ascii_alphanumeric().then(|| format!("%{:02x}", u32::from(letter)))
        };
        let mut all = self.anywhere(encoded);
        let (domain, environment, rest) = (self.domain, self.environment, self.rest);
        all.push(format!("spiffe://{domain}/{environment}%2f{rest}"));
        all.push(format!("spiffe://{domain}%2f{environment}/{rest}"));
        all.push(format!("spiffe://{domain}/x%2f..%2f{environment}/{rest}"));
        all.extend(self.rests(&[
            format!("{rest}%00"),
            format!("{rest}%2f"),
            format!("{rest}%20"),
            format!("%2e/{rest}"),
            format!("{rest}%2e"),
            format!("{rest}%"),
            format!("%25{rest}"),
        ]));
        all
    }

    fn segments(&self) -> Vec<String> {
        let (domain, environment, rest) = (self.domain, self.environment, self.rest);
        let mut paths = vec![
            environment.to_owned(),
            rest.to_owned(),
            format!("{rest}/{environment}"),
            String::new(),
            format!("{environment}/"),
            format!("/{environment}/{rest}"),
            format!("{environment}//{rest}"),
            format!("./{environment}/{rest}"),
            format!("{environment}/./{rest}"),
            format!("../{environment}/{rest}"),
            format!("{environment}/x/../{rest}"),
            format!("{environment}/{rest}/.."),
            format!("{environment}/{rest}/."),
            format!("{environment}/{rest}/"),
            format!("{environment}/{rest}//"),
            format!("{environment}\\{rest}"),
            format!("{environment}{rest}"),
        ];
        for extra in ["a", environment, rest, "sa", "vm", "ns", "default", "admin"] {
            paths.push(format!("{extra}/{environment}/{rest}"));
            paths.push(format!("{environment}/{extra}/{rest}"));
            paths.push(format!("{environment}/{rest}/{extra}"));
        }
        paths.iter().map(|path| format!("spiffe://{domain}/{path}")).collect()
    }

    fn environments(&self) -> Vec<String> {
        let environment = self.environment;
        let others = ["staging", "dev", "test", "production", "default", "0", "-", "_", "...", "*"];
        let near = [
            format!("{environment}-eu"),
            format!("{environment}.eu"),
            format!("eu-{environment}"),
            format!("{environment}1"),
            format!("{environment}."),
            format!(".{environment}"),
        ];
        let others = others.map(str::to_owned).into_iter().chain(near);
        others.map(|other| self.id(self.domain, &other, self.rest)).collect()
    }

    fn trust_domains(&self) -> Vec<String> {
        let domain = self.domain;
        let near = [
            format!("{domain}.evil.example"),
            format!("evil.{domain}"),
            format!("evil-{domain}"),
            format!("{domain}-evil"),
            format!("{domain}."),
            format!(".{domain}"),
            format!("{domain}:8443"),
            format!("{domain}:"),
            format!("root@{domain}"),
            format!("@{domain}"),
            format!("{domain}@evil.example"),
            format!("{domain}%00.evil.example"),
            "partner.example".to_owned(),
            "example".to_owned(),
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            "*".to_owned(),
            String::new(),
        ];
        near.iter().map(|near| self.id(near, self.environment, self.rest)).collect()
    }

    /// What a template would say if its variables were read from the caller.
    fn templates(&self) -> Vec<String> {
        let (domain, environment, rest) = (self.domain, self.environment, self.rest);
        [
            format!("{environment}/{{workload}}"),
            format!("{{env}}/{rest}"),
            "{env}/{workload}".to_owned(),
            format!("$env/{rest}"),
            format!("${{env}}/{rest}"),
            format!("{environment}/:workload"),
            format!("{environment}/<workload>"),
            format!("{environment}/{{{rest}}}"),
            format!("{environment}/{{rest...}}"),
            format!("env/{rest}"),
            format!("{environment}/workload"),
        ]
        .map(|path| format!("spiffe://{domain}/{path}"))
        .into()
    }

    fn reserved(&self) -> Vec<String> {
        let (domain, environment, rest) = (self.domain, self.environment, self.rest);
        [
            "cellwall".to_owned(),
            "cellwall/control-plane".to_owned(),
            format!("cellwall/{rest}"),
            format!("cellwall/{environment}/{rest}"),
            format!("Cellwall/{rest}"),
            format!("{environment}/cellwall"),
        ]
        .map(|path| format!("spiffe://{domain}/{path}"))
        .into()
    }

    fn syntax(&self) -> Vec<String> {
        let id = self.id(self.domain, self.environment, self.rest);
        let behind = [
            "?", "?a=b", "#", "#x", ";", ";v=1", " ", "\n", "\r\n", "\t", "\0", "\0.evil", ",",
            "&", "+", "=", "@", ":", "|", "~", "!", "'", "\"", "é", "\u{7f}",
        ];
        let mut all: Vec<String> = behind.iter().map(|tail| format!("{id}{tail}")).collect();
        all.extend([" ", "\t", "\0", "x", "\u{feff}"].map(|head| format!("{head}{id}")));
        for scheme in ["http", "https", "spiffes", "spiff", "spiffe+unix", ""] {
            all.push(id.replacen("spiffe", scheme, 1));
        }
        for slashes in [":", ":/", ":///", "//", ":\\\\"] {
            all.push(id.replacen("://", slashes, 1));
        }
        all.push(format!("{id},{id}"));
        all.push(format!("{id} {id}"));
        all
    }

    fn lengths(&self) -> Vec<String> {
        let id = self.id(self.domain, self.environment, self.rest);
        let filled = |length: usize| format!("{id}{}", "a".repeat(length - id.len()));
        let behind = |length: usize| format!("{id}/{}", "a".repeat(length - id.len() - 1));
        vec![
            filled(256),
            filled(2048), // SPID-07: the longest that is an ID
            filled(2049),
            filled(4096),
            behind(2048),
            behind(2049),
            format!("{id}{}", "/a".repeat(600)),
            self.id(&"d".repeat(255), self.environment, self.rest),
            self.id(&"d".repeat(256), self.environment, self.rest),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::near_misses;

    #[test]
    fn there_are_hundreds_each_once_and_none_is_the_allowed_one() {
        let allowed = "spiffe://pay.example/prod/checkout";
        let all = near_misses(allowed);
        let ids: BTreeSet<_> = all.iter().map(|miss| miss.id.as_str()).collect();
        assert_eq!(ids.len(), all.len());
        assert!(!ids.contains(allowed));
        assert!(all.len() >= 300, "{}", all.len());
        assert_eq!(near_misses(allowed), all);
    }
}
