//! CW00xx: documents, keys and what may stand where.

use super::CodePage;

pub(super) const PAGES: &[CodePage] = &[
    CodePage {
        code: "CW0001",
        title: "not a YAML document of this language",
        text: "The file cannot be read as YAML, or uses a part of YAML that a policy may not \
               use: anchors, aliases, merge keys, tags, a second document, more than 32 levels. \
               A policy must read the same in every tool.\n\nThe caret shows where reading \
               stopped. Findings further down in this file show once it can be read.",
        example: "roles: &r {}
",
        mended: "roles: {}
",
    },
    CodePage {
        code: "CW0002",
        title: "no version, or one that is not known",
        text: "Every file begins with `version: cellwall/v1`. A file of another version may mean \
               something else by the same words, so it is refused.",
        example: "version: cellwall/v2
",
        mended: "version: cellwall/v1
",
    },
    CodePage {
        code: "CW0003",
        title: "a key stands twice",
        text: "YAML readers differ in which of two equal keys they keep. Remove one of the two.",
        example: "rules: []
rules: []
",
        mended: "rules: []
",
    },
    CodePage {
        code: "CW0004",
        title: "a value of another kind is needed",
        text: "The key needs a name, a text, a list or a mapping, and something else stands \
               there. Plain `true`, `null`, `1.0` and numbers are not texts in YAML: quote them.",
        example: "guards:
  - name: data-stays
    deny: any -> ledger-db
    except: []
    why: the ledger keeps its data
",
        mended: "guards:
  - name: data-stays
    deny: any -> ledger-db
    except: [ledger]
    why: the ledger keeps its data
",
    },
    CodePage {
        code: "CW0005",
        title: "a key that is not part of the language",
        text: "Unknown keys are refused and never ignored: a misspelt `except` must not change \
               what a guard closes. The help names the nearest key.",
        example: "guards:
  - name: data-stays
    deny: any -> ledger-db
    excpet: [ledger]
    why: the ledger keeps its data
",
        mended: "guards:
  - name: data-stays
    deny: any -> ledger-db
    except: [ledger]
    why: the ledger keeps its data
",
    },
    CodePage {
        code: "CW0006",
        title: "a key that this release does not know yet",
        text: "The language has this key, but this release cannot enforce what it says: \
               `external`, `factors`, `headers` and `rate`. A condition that is not enforced \
               must not be written down as if it were, so the file is refused.",
        example: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments}]
    rate: {per_second: 10}
    why: customers pay
",
        mended: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments}]
    why: customers pay
",
    },
    CodePage {
        code: "CW0007",
        title: "a key is missing",
        text: "The mapping needs this key. docs/policy.md lists the keys of each.",
        example: "rules:
  - name: checkout-pays
    to: payments
    allow: [{http: POST /v1/payments}]
    why: customers pay
",
        mended: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments}]
    why: customers pay
",
    },
    CodePage {
        code: "CW0008",
        title: "`include` cannot be followed",
        text: "`include` lists relative paths of `.yaml` files below the folder of \
               cellwall.yaml; `*` stands for any characters but `/`. A pattern that matches no \
               file is an error, since rules would be missing without a word, and so is a file \
               that no pattern matches.",
        example: "include: [segmnts/*.yaml]
",
        mended: "include: [segments/*.yaml]
",
    },
    CodePage {
        code: "CW0009",
        title: "a key at the wrong place",
        text: "`identity`, `include`, `probes`, `limits`, `approvals`, `operators` and `never` \
               hold for the whole policy and belong in cellwall.yaml only. A rule has either \
               `role`, or `to` and `allow`, never both. `starts`, `expires` and `approved_by` \
               belong to a grant, `except` and `mode` to a guard, `across` to a rule or a grant, \
               `identity_header` to a workload that listens for `http` or `grpc`.",
        example: "roles:
  payer: {to: payments, can: [{http: POST /v1/payments}]}
rules:
  - name: checkout-pays
    from: checkout
    role: payer
    to: payments
    why: customers pay
",
        mended: "roles:
  payer: {to: payments, can: [{http: POST /v1/payments}]}
rules:
  - name: checkout-pays
    from: checkout
    role: payer
    why: customers pay
",
    },
    CodePage {
        code: "CW0010",
        title: "more than a policy may hold",
        text: "Limits keep a policy quick to load everywhere: 1 MiB a file, 512 files, 100,000 \
               rules and grants, 10,000 guards, 100,000 workloads and as many identities, each \
               by at most 8 selectors; for one callee 10,000 rules and grants, as many guards, \
               and 1,024 path templates. Conditions tell at most 256 environments apart: every \
               combination of the values that a variable of `identity` is compared with, and two \
               more for each variable. Where a parameter takes `%2F`, the templates of that callee \
               are walked in all readings; those of guards that put literals and parameters in \
               turn multiply, and 100,000 pieces of paths are all that is tried.",
        example: r#"workloads:
  checkout:
    listens: {http: 8443}
    attest:
      prod: ["unix:uid:1000", "unix:gid:1", "unix:gid:2", "unix:gid:3", "unix:gid:4",
             "unix:gid:5", "unix:gid:6", "unix:gid:7", "unix:gid:8"]
segments:
  edge: {members: [checkout], mode: enforce}
"#,
        mended: r#"workloads:
  checkout:
    listens: {http: 8443}
    attest:
      prod: ["unix:uid:1000", "unix:path:/opt/pay/checkout"]
segments:
  edge: {members: [checkout], mode: enforce}
"#,
    },
];
