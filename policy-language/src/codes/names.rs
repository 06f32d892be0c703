//! CW01xx: names, identities and who earns them.

use super::CodePage;

pub(super) const PAGES: &[CodePage] = &[
    CodePage {
        code: "CW0101",
        title: "a name is used twice",
        text: "Workloads, segments, roles, rules, grants, guards and invariants each have one \
               name in all files: logs, metrics and tests refer to them by it. A rule and a \
               grant may share one, since a grant is called `grant/NAME`.",
        example: "guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: not its data}
  - {name: data-stays, deny: payments -> ledger-db, why: not its data}
",
        mended: "guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: not its data}
  - {name: data-stays-too, deny: payments -> ledger-db, why: not its data}
",
    },
    CodePage {
        code: "CW0102",
        title: "not a name",
        text: "A name is 1 to 63 characters of `a-z`, `0-9` and `-`, neither beginning nor \
               ending with `-`; a grant's may have `A-Z` too, as tickets do. `any` is a selector \
               and so no workload's name. Names become SPIFFE path segments and metric labels as \
               they are. People are named by their mail address, groups of operators as \
               `group/NAME`.",
        example: "guards:
  - {name: Data_Stays, deny: checkout -> ledger-db, why: not its data}
",
        mended: "guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: not its data}
",
    },
    CodePage {
        code: "CW0103",
        title: "unknown segment, or one without members",
        text: "A selector `segment/NAME` needs a segment of that name under `segments`. A selector \
               of nothing but segments without members selects nobody, and is refused as one that \
               is misspelt is.",
        example: "guards:
  - {name: data-stays, deny: segment/egde -> ledger-db, why: not its data}
",
        mended: "guards:
  - {name: data-stays, deny: segment/edge -> ledger-db, why: not its data}
",
    },
    CodePage {
        code: "CW0104",
        title: "unknown workload",
        text: "A selector, a member of a segment, a role, a test or a question names a workload \
               that no file lists under `workloads`. Names are compared whole and byte by byte.",
        example: "guards:
  - {name: data-stays, deny: checkot -> ledger-db, why: not its data}
",
        mended: "guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: not its data}
",
    },
    CodePage {
        code: "CW0105",
        title: "unknown role",
        text: "A rule's `role` needs a role of that name under `roles`.",
        example: "roles:
  payer: {to: payments, can: [{http: POST /v1/payments}]}
rules:
  - {name: pays, from: checkout, role: payers, why: customers pay}
",
        mended: "roles:
  payer: {to: payments, can: [{http: POST /v1/payments}]}
rules:
  - {name: checkout-pays, from: checkout, role: payer, why: customers pay}
",
    },
    CodePage {
        code: "CW0106",
        title: "unknown label, attribute or variable",
        text: "A selector `{label: value}` needs at least one workload that declares this label \
               with this value, so that a typing error cannot select nobody without a word. So \
               does a condition: `caller.NAME` and `callee.NAME` are `workload`, `segment`, a \
               variable of `identity` or a label that some workload has, `tls.NAME` is `version` \
               or `group`, and a text beside one must be a value that it can have. `across` \
               names variables of `identity`.",
        example: r#"guards:
  - name: core-only
    deny: any -> ledger
    when: caller.tier != "cor"
    why: the ledger is for the core
"#,
        mended: r#"guards:
  - name: core-only
    deny: any -> ledger
    when: caller.tier != "core"
    why: the ledger is for the core
"#,
    },
    CodePage {
        code: "CW0107",
        title: "a workload is in no segment, or in two",
        text: "Segments are a partition: every workload is in exactly one, since its mode says \
               what becomes of a call that nothing allows.",
        example: "segments:
  edge: {members: [checkout], mode: enforce}
  core: {members: [payments, ledger], mode: enforce}
",
        mended: "segments:
  edge: {members: [checkout], mode: enforce}
  core: {members: [payments, ledger, ledger-db], mode: enforce}
",
    },
    CodePage {
        code: "CW0108",
        title: "not an identity template, or not an `id` that fits it",
        text: "`identity` is `spiffe://TRUST-DOMAIN/...` with `{workload}` exactly once; each \
               other `{variable}` is a whole path segment and a boundary. An `id` is the path of \
               one workload's IDs and has the same variables at the same places, so that an ID \
               can be read in one way only.",
        example: r#"identity: "spiffe://pay.example/{env}/checkout"
"#,
        mended: r#"identity: "spiffe://pay.example/{env}/{workload}"
"#,
    },
    CodePage {
        code: "CW0109",
        title: "an identity below /cellwall/",
        text: "IDs whose path begins with `/cellwall` are Cellwall's own, such as the control \
               plane's. No template, `id`, workload or environment may yield one.",
        example: r#"identity: "spiffe://pay.example/cellwall/{workload}"
"#,
        mended: r#"identity: "spiffe://pay.example/pay/{workload}"
"#,
    },
    CodePage {
        code: "CW0110",
        title: "two workloads with one identity",
        text: "Both workloads would have the same SPIFFE ID in the same environment, and a rule \
               for one would hold for the other. Change the `id` of one.",
        example: r#"workloads:
  ledger: {listens: {grpc: 9443}}
  ledger-db: {listens: {tcp: 5432}, id: "/{env}/ledger"}
segments:
  core: {members: [ledger, ledger-db], mode: enforce}
"#,
        mended: r#"workloads:
  ledger: {listens: {grpc: 9443}}
  ledger-db: {listens: {tcp: 5432}, id: "/{env}/vm/ledger-db"}
segments:
  core: {members: [ledger, ledger-db], mode: enforce}
"#,
    },
    CodePage {
        code: "CW0111",
        title: "not an environment",
        text: "An environment gives each variable of the identity template but `{workload}` a \
               value, each a name, joined by `/` in the template's order: `prod`, or `eu/prod`. \
               It is \"\" where the template has no other variable.",
        example: "tests:
  - {expect: deny, call: checkout -> prod/payments GET /v1/payments}
",
        mended: "tests:
  - {expect: deny, call: prod/checkout -> prod/payments GET /v1/payments}
",
    },
    CodePage {
        code: "CW0112",
        title: "not a selector of a process",
        text: "`attest` knows `unix:uid:N`, `unix:gid:N` and `unix:path:/absolute/path`. Numbers \
               are decimal without leading zeros; paths have no empty, `.` or `..` parts.",
        example: r#"workloads:
  checkout: {listens: {http: 8443}, attest: {prod: ["unix:user:pay"]}}
segments:
  edge: {members: [checkout], mode: enforce}
"#,
        mended: r#"workloads:
  checkout: {listens: {http: 8443}, attest: {prod: ["unix:uid:1000"]}}
segments:
  edge: {members: [checkout], mode: enforce}
"#,
    },
    CodePage {
        code: "CW0113",
        title: "an entry that any process could match",
        text: "An entry needs a selector that narrows it: `unix:path`, or `unix:uid` of a user \
               other than root. Without one, or with `unix:uid:0` or a group alone, processes \
               that nobody meant would get the identity.",
        example: r#"workloads:
  checkout: {listens: {http: 8443}, attest: {prod: ["unix:uid:0"]}}
segments:
  edge: {members: [checkout], mode: enforce}
"#,
        mended: r#"workloads:
  checkout: {listens: {http: 8443}, attest: {prod: ["unix:path:/opt/pay/checkout"]}}
segments:
  edge: {members: [checkout], mode: enforce}
"#,
    },
    CodePage {
        code: "CW0114",
        title: "the same selectors earn two identities",
        text: "One process would match both entries and hold two identities, and nobody could \
               say as whom it calls. Equal sets of selectors are an error. Where one set \
               contains the other it is a warning: the process with more selectors gets both.",
        example: r#"workloads:
  checkout:
    listens: {http: 8443}
    attest: {prod: ["unix:uid:1000"], staging: ["unix:uid:1000"]}
segments:
  edge: {members: [checkout], mode: enforce}
"#,
        mended: r#"workloads:
  checkout:
    listens: {http: 8443}
    attest: {prod: ["unix:uid:1000"], staging: ["unix:uid:1001"]}
segments:
  edge: {members: [checkout], mode: enforce}
"#,
    },
    CodePage {
        code: "CW0115",
        title: "a test expects a decider that does not exist",
        text: "`by` is the name of a rule, `guard/NAME`, `boundary/VARIABLE` or `default`.",
        example: "tests:
  - {expect: deny, call: prod/checkout -> prod/ledger a.v1.A/Get, by: guard/default}
",
        mended: "tests:
  - {expect: deny, call: prod/checkout -> prod/ledger a.v1.A/Get, by: default}
",
    },
    CodePage {
        code: "CW0116",
        title: "an ID of another trust domain that cannot stand here",
        text: "A whole `spiffe://` ID names a caller of another trust domain. It has none of our \
               environments, so a rule or grant lets it in only with `across` for every variable \
               of `identity`. Guards may name one left of the arrow and in `except`. It is never \
               called, and an ID of our own trust domain is written as the workload's name.",
        example: "rules:
  - name: partner-pays
    from: spiffe://partner.example/gateway
    to: payments
    allow: [{http: POST /v1/payments}]
    why: the partner sells for us
",
        mended: "rules:
  - name: partner-pays
    from: spiffe://partner.example/gateway
    to: payments
    allow: [{http: POST /v1/payments}]
    across: [env]
    why: the partner sells for us
",
    },
];
