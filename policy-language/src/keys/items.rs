//! The mappings: the file, and each thing that stands in it.

use super::{
    Bond, Form, Key, Mapping, Need,
    values::{
        APPROVERS, ARROW, CALLS, CONDITION, DATE, DURATION, GRANT_NAME, GUARD_CALLS, HOLDERS,
        IDENTITY_HEADERS, INSTANT, LABEL_VALUES, LISTENS, NAME, NAME_PATTERN, NAMES, OWNER, REASON,
        SELECTOR, SOME_HOLDERS, SOME_NAMES,
    },
};

const fn required(name: &'static str, form: &'static Form, about: &'static str) -> Key {
    Key { name, about, form, need: Need::Required }
}

const fn optional(name: &'static str, form: &'static Form, about: &'static str) -> Key {
    Key { name, about, form, need: Need::Optional }
}

const fn list(of: &'static Form) -> Form {
    Form::List { of, least: 0 }
}

const fn named(of: &'static Form) -> Form {
    Form::Named { pattern: NAME_PATTERN, of }
}

const MODE: Form = Form::Words(&["enforce", "audit"]);

const WHY: &str = "The business need (PCI DSS 1.2.5).";
const BY: &str = "Who answers for it; the file's, if not given.";
const REVIEW: &str = "The day by which it is to be looked at again; the file's, if not given.";
const ACROSS: &str = "The boundary variables that it may cross; the only way over a boundary.";
const WHEN: &str = "A condition over `caller.*`, `callee.*` and `tls.*`: `== != in && || !`.";

/// A file.
pub(crate) const ROOT: Mapping = Mapping {
    name: "file",
    about: "A policy file of Cellwall. Everything that no rule allows is denied.",
    keys: &[
        required("version", &Form::Words(&["cellwall/v1"]), "The language that the file is in."),
        optional(
            "identity",
            &Form::Text {
                pattern: "^spiffe://[^/]+/.*\\{workload\\}.*$",
                example: "spiffe://pay.example/{env}/{workload}",
            },
            "The SPIFFE ID of every workload: `{workload}` once, every other `{variable}` a whole \
             segment and a boundary. Stands in cellwall.yaml only.",
        ),
        optional(
            "include",
            &list(&Form::Text { pattern: "^[^/].*\\.yaml$", example: "segments/*.yaml" }),
            "The other files, by relative path; `*` is any characters but `/`. Stands in \
             cellwall.yaml only.",
        ),
        optional("owner", &OWNER, "Who answers for the file."),
        optional("review_by", &DATE, "The day by which the file is to be looked at again."),
        optional(
            "probes",
            &list(&Form::Text { pattern: "^[A-Z][A-Z-]* /[^{}\\s]*$", example: "GET /livez" }),
            "HTTP calls with literal paths that need no identity and no rule, from the node or \
             loopback only. Stands in cellwall.yaml only.",
        ),
        optional("limits", &Form::Mapping(&LIMITS), "What nobody may exceed."),
        optional("workloads", &named(&Form::Mapping(&WORKLOAD)), "Who there is, by name."),
        optional("segments", &named(&Form::Mapping(&SEGMENT)), "A partition of the workloads."),
        optional("roles", &named(&Form::Mapping(&ROLE)), "Named sets of calls on one callee."),
        optional(
            "guards",
            &list(&Form::Mapping(&GUARD)),
            "What is denied, whatever rules and grants say.",
        ),
        optional("rules", &list(&Form::Mapping(&RULE)), "What is allowed. Nothing else is."),
        optional("grants", &list(&Form::Mapping(&GRANT)), "What is allowed for a while."),
        optional(
            "never",
            &list(&Form::Mapping(&NEVER)),
            "Paths that no rule or grant may open. Stands in cellwall.yaml only.",
        ),
        optional(
            "approvals",
            &Form::Named {
                pattern: "^(default|guards|operators|segment/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$",
                of: &Form::Mapping(&APPROVAL),
            },
            "Who must say yes before a change is in force: `default`, `guards`, `operators`, `segment/NAME`.",
        ),
        optional("operators", &Form::Mapping(&OPERATORS), "People, not workloads: OIDC groups."),
        optional(
            "tests",
            &list(&Form::Mapping(&TEST)),
            "Run by validate, test, plan and apply; a failing one stops apply.",
        ),
    ],
    bond: Bond::None,
};

const LIMITS: Mapping = Mapping {
    name: "limits",
    about: "What nobody may exceed.",
    keys: &[
        optional("grant_max", &DURATION, "The longest that a grant may live; 8h if not given."),
        optional("svid_ttl", &DURATION, "How long an SVID lives; it is renewed at half of it."),
    ],
    bond: Bond::None,
};

const WORKLOAD: Mapping = Mapping {
    name: "workload",
    about: "A workload: its name and the template in cellwall.yaml make its SPIFFE ID.",
    keys: &[
        required("listens", &LISTENS, "Its listener, or a list of them."),
        optional("labels", &LABEL_VALUES, "Names, for selectors and conditions."),
        optional(
            "id",
            &Form::Text { pattern: "^/", example: "/{env}/vm/ledger-db" },
            "The path of its IDs where it is not the template's.",
        ),
        optional(
            "identity_header",
            &IDENTITY_HEADERS,
            "The headers that tell it who calls, and are nobody's but ours; x-spiffe-id, if not given.",
        ),
        optional(
            "attest",
            &Form::Named {
                pattern: "",
                of: &list(&Form::Text {
                    pattern: "^[a-z0-9]+:.+$",
                    example: "unix:path:/opt/pay/checkout",
                }),
            },
            "Which process earns the identity, by environment: all selectors of an entry must hold.",
        ),
    ],
    bond: Bond::None,
};

const SEGMENT: Mapping = Mapping {
    name: "segment",
    about: "Some of the workloads; every workload is in exactly one segment.",
    keys: &[
        required("members", &NAMES, "Its workloads."),
        required(
            "mode",
            &MODE,
            "`audit` softens one thing: the default deny of its members as callees.",
        ),
    ],
    bond: Bond::None,
};

const ROLE: Mapping = Mapping {
    name: "role",
    about: "A named set of calls on one callee.",
    keys: &[
        required("to", &NAME, "The callee."),
        required("can", &CALLS, "The calls that the role allows."),
    ],
    bond: Bond::None,
};

const GUARD: Mapping = Mapping {
    name: "guard",
    about: "What is denied, whatever rules and grants say.",
    keys: &[
        required("name", &NAME, "Its name; a decision says `guard/NAME`."),
        required("deny", &ARROW, "`A -> B`: two selectors."),
        optional("calls", &GUARD_CALLS, "Only these calls; all of them, if not given."),
        optional("except", &SELECTOR, "Callers that it does not deny."),
        optional("mode", &MODE, "`audit` records what it would deny, and lets it pass."),
        optional("when", &CONDITION, WHEN),
        required("why", &REASON, WHY),
        optional("owner", &OWNER, BY),
        optional("review_by", &DATE, REVIEW),
    ],
    bond: Bond::None,
};

const RULE: Mapping = Mapping {
    name: "rule",
    about: "What is allowed: either a `role`, or `to` and `allow`.",
    keys: &[
        required("name", &NAME, "Its name; a decision says it."),
        required("from", &SELECTOR, "Who may call."),
        optional("role", &NAME, "The role that says to whom and which calls."),
        optional("to", &SELECTOR, "Who may be called."),
        optional("allow", &CALLS, "Which calls."),
        optional("when", &CONDITION, WHEN),
        optional("across", &SOME_NAMES, ACROSS),
        required("why", &REASON, WHY),
        optional("owner", &OWNER, BY),
        optional("review_by", &DATE, REVIEW),
    ],
    bond: Bond::RoleOrCalls,
};

const GRANT: Mapping = Mapping {
    name: "grant",
    about: "A rule for a while: from `starts` until before `expires`.",
    keys: &[
        required("name", &GRANT_NAME, "Its name; a decision says `grant/NAME`."),
        required("from", &SELECTOR, "Who may call."),
        optional("role", &NAME, "The role that says to whom and which calls."),
        optional("to", &SELECTOR, "Who may be called."),
        optional("allow", &CALLS, "Which calls."),
        optional("when", &CONDITION, WHEN),
        optional("across", &SOME_NAMES, ACROSS),
        required("starts", &INSTANT, "The first moment, in UTC."),
        required("expires", &INSTANT, "The moment from which it no longer allows, in UTC."),
        required("why", &REASON, WHY),
        required("approved_by", &APPROVERS, "At least two different people."),
        optional("owner", &OWNER, BY),
        optional("review_by", &DATE, REVIEW),
    ],
    bond: Bond::RoleOrCalls,
};

const NEVER: Mapping = Mapping {
    name: "invariant",
    about: "No path may lead from one side to the other, whatever is allowed at any time.",
    keys: &[
        required("name", &NAME, "Its name."),
        required("from", &SELECTOR, "Where a path would begin."),
        required("to", &SELECTOR, "Where it would end."),
        optional(
            "through",
            &Form::Words(&["any", "none"]),
            "`any`: also via other workloads, which is the default; `none`: only directly.",
        ),
        required("why", &REASON, WHY),
    ],
    bond: Bond::None,
};

const APPROVAL: Mapping = Mapping {
    name: "approval",
    about: "Who must say yes, and how many of them; never the author.",
    keys: &[
        required("from", &SOME_HOLDERS, "Groups, or people."),
        required("count", &Form::Number { least: 1, most: 100 }, "How many different people."),
    ],
    bond: Bond::None,
};

const OPERATORS: Mapping = Mapping {
    name: "operators",
    about: "Which groups of people may do what.",
    keys: &[
        optional("viewer", &HOLDERS, "May look."),
        optional("editor", &HOLDERS, "May propose changes."),
        optional("approver", &HOLDERS, "May approve them."),
        optional("auditor", &HOLDERS, "May read the trail."),
    ],
    bond: Bond::None,
};

const TEST: Mapping = Mapping {
    name: "test",
    about: "A call, and what is to be decided about it.",
    keys: &[
        required("expect", &Form::Words(&["allow", "deny", "audit"]), "The verdict."),
        required(
            "call",
            &Form::Text {
                pattern: "^.+->\\s*\\S+\\s+\\S.*$",
                example: "prod/checkout -> prod/payments POST /v1/payments",
            },
            "`ENV/CALLER -> ENV/CALLEE CALL`, CALL being `METHOD /path`, `GET+websocket /path`, \
             `pkg.Service/Method` or `tcp:PORT`.",
        ),
        optional("at", &INSTANT, "The moment of the call, for grants; without it there are none."),
        optional(
            "by",
            &Form::Text {
                pattern: "^(default|((guard|grant|boundary)/)?[A-Za-z0-9_-]+)$",
                example: "guard/vault-callers",
            },
            "What decides: a rule's name, `guard/NAME`, `grant/NAME`, `boundary/VARIABLE`, `default`.",
        ),
    ],
    bond: Bond::None,
};
