//! Every code of a finding, with the page that `cellwall explain CODE` prints.

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
    Shadowed,
    DuplicateRule,
    GrantTooLong,
    Isolated,
    GuardsNobody,
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
            Self::Shadowed => "CW0301",
            Self::DuplicateRule => "CW0302",
            Self::GrantTooLong => "CW0303",
            Self::Isolated => "CW0304",
            Self::GuardsNobody => "CW0305",
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
pub const CODE_PAGES: &[CodePage] = &[
    CodePage {
        code: "CW0001",
        title: "not a YAML document of this language",
        text: "The file cannot be read as YAML, or uses a part of YAML that a policy may not use: \
               anchors, aliases, merge keys, tags, a second document, more than 32 levels. A policy \
               must read the same in every tool.\n\nThe caret shows where reading stopped. Findings \
               further down in this file show once it can be read.",
    },
    CodePage {
        code: "CW0002",
        title: "no version, or one that is not known",
        text: "Every file begins with `version: cellwall/v1`. A file of another version may mean \
               something else by the same words, so it is refused.",
    },
    CodePage {
        code: "CW0003",
        title: "a key stands twice",
        text: "YAML readers differ in which of two equal keys they keep. Remove one of the two.",
    },
    CodePage {
        code: "CW0004",
        title: "a value of another kind is needed",
        text: "The key needs a name, a text, a list or a mapping, and something else stands there. \
               Plain `true`, `null`, `1.0` and numbers are not texts in YAML: quote them.",
    },
    CodePage {
        code: "CW0005",
        title: "a key that is not part of the language",
        text: "Unknown keys are refused and never ignored: a misspelt `except` must not change what \
               a guard closes. The help names the nearest key.",
    },
    CodePage {
        code: "CW0006",
        title: "a key that this release does not know yet",
        text: "The language has this key, but this release cannot enforce what it says: `external`, \
               `factors`, `headers`, `idempotent` and `rate`. A condition that is not enforced must \
               not be written down as if it were, so the file is refused.",
    },
    CodePage {
        code: "CW0007",
        title: "a key is missing",
        text: "The mapping needs this key. docs/policy.md lists the keys of each.",
    },
    CodePage {
        code: "CW0008",
        title: "`include` cannot be followed",
        text: "`include` lists relative paths of `.yaml` files below the folder of cellwall.yaml; `*` \
               stands for any characters but `/`. A pattern that matches no file is an error, since \
               rules would be missing without a word, and so is a file that no pattern matches.",
    },
    CodePage {
        code: "CW0009",
        title: "a key at the wrong place",
        text: "`identity`, `include`, `probes`, `limits`, `approvals`, `operators` and `never` hold \
               for the whole policy and belong in cellwall.yaml only. A rule has either `role`, or \
               `to` and `allow`, never both. `starts`, `expires` and `approved_by` belong to a \
               grant, `except` and `mode` to a guard, `across` to a rule or a grant.",
    },
    CodePage {
        code: "CW0010",
        title: "more than a policy may hold",
        text: "Limits keep a policy quick to load everywhere: 1 MiB a file, 512 files, 100,000 \
               rules and grants, 10,000 guards, 100,000 workloads and as many identities; for one \
               callee 10,000 rules and grants, as many guards, and 1,024 path templates.",
    },
    CodePage {
        code: "CW0101",
        title: "a name is used twice",
        text: "Workloads, segments, roles, rules, grants, guards and invariants each have one name \
               in all files: logs, metrics and tests refer to them by it. A rule and a grant may \
               share one, since a grant is called `grant/NAME`.",
    },
    CodePage {
        code: "CW0102",
        title: "not a name",
        text: "A name is 1 to 63 characters of `a-z`, `0-9` and `-`, neither beginning nor ending \
               with `-`; a grant's may have `A-Z` too, as tickets do. `any` is a selector and so no \
               workload's name. Names become SPIFFE path segments and metric labels as they are. \
               People are named by their mail address, groups of operators as `group/NAME`.",
    },
    CodePage {
        code: "CW0103",
        title: "unknown segment",
        text: "A selector `segment/NAME` needs a segment of that name under `segments`.",
    },
    CodePage {
        code: "CW0104",
        title: "unknown workload",
        text: "A selector, a member of a segment, a role, a test or a question names a workload that \
               no file lists under `workloads`. Names are compared whole and byte by byte.",
    },
    CodePage {
        code: "CW0105",
        title: "unknown role",
        text: "A rule's `role` needs a role of that name under `roles`.",
    },
    CodePage {
        code: "CW0106",
        title: "unknown label, attribute or variable",
        text: "A selector `{label: value}` needs at least one workload that declares this label \
               with this value, so that a typing error cannot select nobody without a word. So does \
               a condition: `caller.NAME` and `callee.NAME` are `workload`, `segment`, a variable \
               of `identity` or a label that some workload has, `tls.NAME` is `version` or `group`, \
               and a text beside one must be a value that it can have. `across` names variables of \
               `identity`.",
    },
    CodePage {
        code: "CW0107",
        title: "a workload is in no segment, or in two",
        text: "Segments are a partition: every workload is in exactly one, since its mode says what \
               becomes of a call that nothing allows.",
    },
    CodePage {
        code: "CW0108",
        title: "not an identity template, or not an `id` that fits it",
        text: "`identity` is `spiffe://TRUST-DOMAIN/...` with `{workload}` exactly once; each other \
               `{variable}` is a whole path segment and a boundary. An `id` is the path of one \
               workload's IDs and has the same variables at the same places, so that an ID can be \
               read in one way only.",
    },
    CodePage {
        code: "CW0109",
        title: "an identity below /cellwall/",
        text: "IDs whose path begins with `/cellwall` are Cellwall's own, such as the control plane's. \
               No template, `id`, workload or environment may yield one.",
    },
    CodePage {
        code: "CW0110",
        title: "two workloads with one identity",
        text: "Both workloads would have the same SPIFFE ID in the same environment, and a rule for \
               one would hold for the other. Change the `id` of one.",
    },
    CodePage {
        code: "CW0111",
        title: "not an environment",
        text: "An environment gives each variable of the identity template but `{workload}` a value, \
               each a name, joined by `/` in the template's order: `prod`, or `eu/prod`. It is \"\" \
               where the template has no other variable.",
    },
    CodePage {
        code: "CW0112",
        title: "not a selector of a process",
        text: "`attest` knows `unix:uid:N`, `unix:gid:N` and `unix:path:/absolute/path`. Numbers are \
               decimal without leading zeros; paths have no empty, `.` or `..` parts.",
    },
    CodePage {
        code: "CW0113",
        title: "an entry that any process could match",
        text: "An entry needs a selector that narrows it: `unix:path`, or `unix:uid` of a user other \
               than root. Without one, or with `unix:uid:0` or a group alone, processes that nobody \
               meant would get the identity.",
    },
    CodePage {
        code: "CW0114",
        title: "the same selectors earn two identities",
        text: "One process would match both entries and hold two identities, and nobody could say as \
               whom it calls. Equal sets of selectors are an error. Where one set contains the other \
               it is a warning: the process with more selectors gets both.",
    },
    CodePage {
        code: "CW0115",
        title: "a test expects a decider that does not exist",
        text: "`by` is the name of a rule, `guard/NAME`, `boundary/VARIABLE` or `default`.",
    },
    CodePage {
        code: "CW0116",
        title: "an ID of another trust domain that cannot stand here",
        text: "A whole `spiffe://` ID names a caller of another trust domain. It has none of our \
               environments, so a rule or grant lets it in only with `across` for every variable of \
               `identity`. Guards may name one left of the arrow and in `except`. It is never \
               called, and an ID of our own trust domain is written as the workload's name.",
    },
    CodePage {
        code: "CW0201",
        title: "not a call",
        text: "A call is exactly one of `http: METHOD[,METHOD] /path/{id}`, `grpc: \
               pkg.Service/Method` (or `pkg.Service/*`) and `tcp: PORT`. In a path, `{name}` is one \
               whole segment and `{name...}`, last, is one or more. Templates are canonical: no \
               escapes of unreserved characters, no dot segments, no `;`. `/a/` is not `/a`. A \
               probe is one method and one path without parameters.",
    },
    CodePage {
        code: "CW0202",
        title: "not a question",
        text: "A test, and `cellwall explain`, asks `ENV/CALLER -> ENV/CALLEE CALL`, where CALL is \
               `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`. A path with two readings never \
               reaches a rule: it is answered 400.",
    },
    CodePage {
        code: "CW0203",
        title: "a call in another protocol, or to another port, than the callee listens",
        text: "Protocols are declared under `listens`, never guessed. A call that the callee can \
               never receive is a mistake in the rule, the role or the listener. Every callee of a \
               rule must be able to receive each of its calls; of a guard's callees at least one.",
    },
    CodePage {
        code: "CW0204",
        title: "not a listener",
        text: "`listens` is `{http: PORT}`, `{grpc: PORT}` or `{tcp: PORT}` with a port from 1 to \
               65535, or a list of these, each port once.",
    },
    CodePage {
        code: "CW0206",
        title: "not a condition",
        text: "`when` compares attributes with texts in quotes or with each other: `==`, `!=`, `in \
               [...]`, joined by `&&`, `||`, `!(...)` and parentheses. There are no numbers, no \
               patterns and no functions. Facts of the connection (`tls.*`) are compared with texts \
               only. A condition has at most 4,096 bytes, 1,024 parts and 32 levels.",
    },
    CodePage {
        code: "CW0207",
        title: "two templates match one path, and neither is more specific",
        text: "Of several templates that match a request and carry its method, the request belongs to \
               the most specific one: segment by segment a literal before `{name}` before \
               `{name...}`. `/a/{x}` and `/{y}/b` both match `/a/b` and have no such order; \
               `/v1/{id}` and `/v1/{token}` differ in nothing but a name; and `/a/{x}/` beside \
               `/a/b` would depend on whether the workload ignores a trailing slash. Make one more \
               specific, or write the same template in both rules.",
    },
    CodePage {
        code: "CW0301",
        title: "a rule that guards deny whole",
        text: "Every call that the rule or grant allows is denied by a guard first, so it allows \
               nothing. Remove the rule, or make its callers an `except` of the guard. Guards with \
               `when` and guards in `audit` do not count.",
    },
    CodePage {
        code: "CW0302",
        title: "a rule that says what another says",
        text: "Both rules allow the same callers the same calls under the same condition. Decisions \
               name the first by name; remove one, or tests and logs will surprise.",
    },
    CodePage {
        code: "CW0303",
        title: "a grant that lasts too long, or not at all",
        text: "A grant lasts from `starts` to `expires`, at most `limits.grant_max`, which is 8h if \
               not given. What is needed longer is a rule, and reviewed as one.",
    },
    CodePage {
        code: "CW0304",
        title: "a segment that nothing leads to or from",
        text: "Nobody may call the members of the segment, and they may call nobody. Either a rule \
               is missing, or the workloads are no longer used.",
    },
    CodePage {
        code: "CW0305",
        title: "a guard that denies nobody",
        text: "Everyone whom the guard names is also an exception of it, or it points at nobody.",
    },
    CodePage {
        code: "CW0307",
        title: "a condition that makes no difference",
        text: "The condition holds for everybody whom the statement is about, or for nobody: it \
               compares two texts, or labels that all of them share. Leave `when` out, or write \
               what was meant.",
    },
    CodePage {
        code: "CW0401",
        title: "no reason",
        text: "Rules and guards have a `why`: PCI DSS 1.2.5 asks for the business need of each \
               connection, and the next reader does too.",
    },
    CodePage {
        code: "CW0402",
        title: "the day of review has passed",
        text: "`review_by` is the last day on which the statements count as looked at (PCI DSS \
               1.2.7: every six months). Look at them and write a new day. Nothing closes by \
               itself.",
    },
    CodePage {
        code: "CW0403",
        title: "nobody owns it",
        text: "Other statements of this policy have an `owner`, and this one has none: neither its \
               own nor its file's. Somebody must answer when it is reviewed.",
    },
    CodePage {
        code: "CW0404",
        title: "a grant without two approvals",
        text: "`approved_by` of a grant lists at least two different people. One person in two \
               spellings is one person.",
    },
    CodePage {
        code: "CW0405",
        title: "a grant that is over",
        text: "The grant allows nothing any more: the sidecars ended it by their own clocks. Remove \
               it; the history of the files keeps it.",
    },
];

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
        assert_eq!(pages.len(), 43);
        for code in [Code::Syntax, Code::UnknownWorkload, Code::NoReason] {
            assert_eq!(code_page(code.as_str()).map(|page| page.code), Some(code.as_str()));
        }
        assert_eq!(code_page("cw0104").map(|page| page.title), Some("unknown workload"));
        assert_eq!(code_page("CW9999"), None);
    }
}
