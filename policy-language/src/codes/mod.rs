//! Every code of a finding, with the page that `cellwall explain CODE` prints.

mod calls;
mod documents;
mod governance;
mod logic;
mod names;

/// What a finding is about. The order is that of the numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Code {
    Syntax,
    Version,
    DuplicateKey,
    WrongType,
    UnknownKey,
    NotYet,
    MissingKey,
    Include,
    Misplaced,
    TooMuch,
    DuplicateName,
    BadName,
    UnknownSegment,
    UnknownWorkload,
    UnknownRole,
    UnknownLabel,
    Membership,
    BadIdentity,
    ReservedIdentity,
    SameIdentity,
    BadEnvironment,
    BadSelector,
    WideEntry,
    SameSelectors,
    UnknownDecider,
    BadForeignIdentity,
    BadCall,
    BadQuestion,
    ProtocolMismatch,
    BadListener,
    BadCondition,
    AmbiguousTemplates,
    NotIdempotent,
    IdempotentElsewhere,
    Shadowed,
    DuplicateRule,
    GrantTooLong,
    Isolated,
    GuardsNobody,
    NeverHolds,
    ConstantCondition,
    NoReason,
    ReviewPassed,
    NoOwner,
    NotApproved,
    GrantOver,
}

/// What there is to know about a code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CodePage {
    /// The code: `CW0104`.
    pub code: &'static str,
    /// What it says, in a line.
    pub title: &'static str,
    /// What is wrong, why that is refused, and what to do.
    pub text: &'static str,
    /// A part of a document with this mistake.
    pub example: &'static str,
    /// The same without it.
    pub mended: &'static str,
}

impl Code {
    /// The code as it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "CW0001",
            Self::Version => "CW0002",
            Self::DuplicateKey => "CW0003",
            Self::WrongType => "CW0004",
            Self::UnknownKey => "CW0005",
            Self::NotYet => "CW0006",
            Self::MissingKey => "CW0007",
            Self::Include => "CW0008",
            Self::Misplaced => "CW0009",
            Self::TooMuch => "CW0010",
            Self::DuplicateName => "CW0101",
            Self::BadName => "CW0102",
            Self::UnknownSegment => "CW0103",
            Self::UnknownWorkload => "CW0104",
            Self::UnknownRole => "CW0105",
            Self::UnknownLabel => "CW0106",
            Self::Membership => "CW0107",
            Self::BadIdentity => "CW0108",
            Self::ReservedIdentity => "CW0109",
            Self::SameIdentity => "CW0110",
            Self::BadEnvironment => "CW0111",
            Self::BadSelector => "CW0112",
            Self::WideEntry => "CW0113",
            Self::SameSelectors => "CW0114",
            Self::UnknownDecider => "CW0115",
            Self::BadForeignIdentity => "CW0116",
            Self::BadCall => "CW0201",
            Self::BadQuestion => "CW0202",
            Self::ProtocolMismatch => "CW0203",
            Self::BadListener => "CW0204",
            Self::BadCondition => "CW0206",
            Self::AmbiguousTemplates => "CW0207",
            Self::NotIdempotent => "CW0208",
            Self::IdempotentElsewhere => "CW0209",
            Self::Shadowed => "CW0301",
            Self::DuplicateRule => "CW0302",
            Self::GrantTooLong => "CW0303",
            Self::Isolated => "CW0304",
            Self::GuardsNobody => "CW0305",
            Self::NeverHolds => "CW0306",
            Self::ConstantCondition => "CW0307",
            Self::NoReason => "CW0401",
            Self::ReviewPassed => "CW0402",
            Self::NoOwner => "CW0403",
            Self::NotApproved => "CW0404",
            Self::GrantOver => "CW0405",
        }
    }
}

/// The page of a code, in upper or lower case.
pub fn code_page(code: &str) -> Option<&'static CodePage> {
    CODE_PAGES.iter().find(|page| page.code.eq_ignore_ascii_case(code))
}

/// The pages of all codes, in their order.
pub const CODE_PAGES: &[CodePage] = &ALL;

/// How many codes there are.
const COUNT: usize = documents::PAGES.len()
    + names::PAGES.len()
    + calls::PAGES.len()
    + logic::PAGES.len()
    + governance::PAGES.len();

const ALL: [CodePage; COUNT] =
    joined([documents::PAGES, names::PAGES, calls::PAGES, logic::PAGES, governance::PAGES]);

/// The pages of all rooms in one row.
#[expect(clippy::indexing_slicing, reason = "evaluated when this is compiled")]
const fn joined(rooms: [&[CodePage]; 5]) -> [CodePage; COUNT] {
    let mut all = [CodePage { code: "", title: "", text: "", example: "", mended: "" }; COUNT];
    let (mut room, mut at, mut filled) = (0, 0, 0);
    while room < rooms.len() {
        if at == rooms[room].len() {
            (room, at) = (room + 1, 0);
            continue;
        }
        all[filled] = rooms[room][at];
        (at, filled) = (at + 1, filled + 1);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{CODE_PAGES, Code, code_page};

    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        // The last one closes the row: a new code without a page shows here.
        let pages: Vec<_> = CODE_PAGES.iter().map(|page| page.code).collect();
        let mut sorted = pages.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(pages, sorted);
        assert_eq!(pages.len(), 46);
        for code in [Code::Syntax, Code::UnknownWorkload, Code::NoReason] {
            assert_eq!(code_page(code.as_str()).map(|page| page.code), Some(code.as_str()));
        }
        assert_eq!(code_page("cw0104").map(|page| page.title), Some("unknown workload"));
        assert_eq!(code_page("CW9999"), None);
    }
}
