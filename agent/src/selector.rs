//! What a process is, in the words of registration entries: `unix:uid:1000`.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// One fact about a process that an entry can ask for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Selector {
    /// `unix:uid:UID`: the effective user.
    Uid(u32),
    /// `unix:gid:GID`: the effective primary group.
    Gid(u32),
    /// `unix:path:/ABSOLUTE`: the executable, as the kernel names it (symbolic links resolved).
    Path(String),
}

/// Why a text is no selector that this agent attests.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectorError {
    /// Not `unix:uid:`, `unix:gid:` or `unix:path:`.
    #[error("`{0}` is not one of `unix:uid:UID`, `unix:gid:GID`, `unix:path:/ABSOLUTE`")]
    Unknown(String),
    /// The number is not one, or not written plainly.
    #[error("`{0}` needs a decimal number without sign or leading zeros")]
    Number(String),
    /// The path can never be that of an executable.
    #[error("`{0}` needs an absolute path without `.`, `..`, `//` or a trailing `/`")]
    Path(String),
}

impl Selector {
    /// Whether the selector alone tells workloads apart (ATT-06): an executable, or a user other
    /// than root. Everything runs as some group, and too much runs as root.
    pub fn is_narrowing(&self) -> bool {
        match self {
            Self::Uid(uid) => *uid != 0,
            Self::Gid(_) => false,
            Self::Path(_) => true,
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let number = |digits: &str| match digits.parse::<u32>() {
            Ok(number) if number.to_string() == digits => Ok(number),
            Ok(_) | Err(_) => Err(SelectorError::Number(text.to_owned())),
        };
        if let Some(digits) = text.strip_prefix("unix:uid:") {
            return number(digits).map(Self::Uid);
        }
        if let Some(digits) = text.strip_prefix("unix:gid:") {
            return number(digits).map(Self::Gid);
        }
        let Some(path) = text.strip_prefix("unix:path:") else {
            return Err(SelectorError::Unknown(text.to_owned()));
        };
        let Some(relative) = path.strip_prefix('/') else {
            return Err(SelectorError::Path(text.to_owned()));
        };
        if relative.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(SelectorError::Path(text.to_owned()));
        }
        Ok(Self::Path(path.to_owned()))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "unix:uid:{uid}"),
            Self::Gid(gid) => write!(f, "unix:gid:{gid}"),
            Self::Path(path) => write!(f, "unix:path:{path}"),
        }
    }
}

/// All selectors of one process, as attested.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selectors(BTreeSet<Selector>);

impl Selectors {
    /// Whether a process with these selectors earns an entry that asks for `wanted`: all of them
    /// hold, and there is at least one.
    pub fn earn(&self, wanted: &[Selector]) -> bool {
        !wanted.is_empty() && wanted.iter().all(|selector| self.0.contains(selector))
    }

    /// The selectors, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }
}

impl FromIterator<Selector> for Selectors {
    fn from_iter<I: IntoIterator<Item = Selector>>(selectors: I) -> Self {
        Self(selectors.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Selector, SelectorError, Selectors};

    #[test]
    fn a_selector_reads_back_as_it_was_written() {
        for text in ["unix:uid:0", "unix:uid:1000", "unix:gid:4294967295", "unix:path:/opt/a b"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_no_process_can_have_is_no_selector() {
        let unknown = |text: &str| Err(SelectorError::Unknown(text.to_owned()));
        let number = |text: &str| Err(SelectorError::Number(text.to_owned()));
        let path = |text: &str| Err(SelectorError::Path(text.to_owned()));
        for (text, expected) in [
            ("", unknown("")),
            ("unix:uid", unknown("unix:uid")),
            ("k8s:sa:pay/checkout", unknown("k8s:sa:pay/checkout")),
            ("UNIX:uid:1", unknown("UNIX:uid:1")),
            ("unix:uid:", number("unix:uid:")),
            ("unix:uid:+1", number("unix:uid:+1")),
            ("unix:uid:01", number("unix:uid:01")),
            ("unix:gid:4294967296", number("unix:gid:4294967296")),
            ("unix:path:opt/x", path("unix:path:opt/x")),
            ("unix:path:/", path("unix:path:/")),
            ("unix:path:/opt//x", path("unix:path:/opt//x")),
            ("unix:path:/opt/../x", path("unix:path:/opt/../x")),
            ("unix:path:/opt/x/", path("unix:path:/opt/x/")),
        ] {
            assert_eq!(text.parse::<Selector>(), expected, "{text}");
        }
    }

    #[test]
    fn an_entry_is_earned_by_all_of_its_selectors_and_never_by_none() {
        let process: Selectors =
            [Selector::Uid(1000), Selector::Gid(1000), Selector::Path("/opt/pay".into())]
                .into_iter()
                .collect();
        assert!(process.earn(&[Selector::Uid(1000), Selector::Path("/opt/pay".into())]));
        assert!(!process.earn(&[Selector::Uid(1000), Selector::Path("/opt/payments".into())]));
        assert!(!process.earn(&[Selector::Uid(1000), Selector::Gid(0)]));
        assert!(!process.earn(&[]));
    }
}
