//! CW03xx: statements that do not do what they seem to.

use super::CodePage;

pub(super) const PAGES: &[CodePage] = &[
    CodePage {
        code: "CW0301",
        title: "a rule that guards deny whole",
        text: "Every call that the rule or grant allows is denied by a guard first, so it allows \
               nothing. Remove the rule, or make its callers an `except` of the guard. Guards \
               with `when` and guards in `audit` do not count.",
        example: "rules:
  - {name: ledger-stores, from: ledger, to: ledger-db, allow: [{tcp: 5432}], why: its data}
guards:
  - {name: data-stays, deny: any -> ledger-db, why: its data}
",
        mended: "rules:
  - {name: ledger-stores, from: ledger, to: ledger-db, allow: [{tcp: 5432}], why: its data}
guards:
  - {name: data-stays, deny: any -> ledger-db, except: [ledger], why: its data}
",
    },
    CodePage {
        code: "CW0302",
        title: "a rule that says what another says",
        text: "Both rules allow the same callers the same calls under the same condition. \
               Decisions name the first by name; remove one, or tests and logs will surprise.",
        example: "rules:
  - {name: ledger-reads, from: ledger, to: ledger-db, allow: [{tcp: 5432}], why: its data}
  - {name: ledger-writes, from: ledger, to: ledger-db, allow: [{tcp: 5432}], why: its data}
",
        mended: "rules:
  - {name: ledger-stores, from: ledger, to: ledger-db, allow: [{tcp: 5432}], why: its data}
",
    },
    CodePage {
        code: "CW0303",
        title: "a grant that lasts too long, or not at all",
        text: "A grant lasts from `starts` to `expires`, at most `limits.grant_max`, which is 8h \
               if not given. What is needed longer is a rule, and reviewed as one.",
        example: "grants:
  - name: INC-4821
    from: payments
    to: ledger-db
    allow: [{tcp: 5432}]
    starts:  2026-03-02T10:00:00Z
    expires: 2026-03-09T10:00:00Z
    why: duplicate postings after failover
    approved_by: [alice@pay.example, bob@pay.example]
",
        mended: "grants:
  - name: INC-4821
    from: payments
    to: ledger-db
    allow: [{tcp: 5432}]
    starts:  2026-03-02T10:00:00Z
    expires: 2026-03-02T14:00:00Z
    why: duplicate postings after failover
    approved_by: [alice@pay.example, bob@pay.example]
",
    },
    CodePage {
        code: "CW0304",
        title: "a segment that nothing leads to or from",
        text: "Nobody may call the members of the segment, and they may call nobody. Either a \
               rule is missing, or the workloads are no longer used.",
        example: "segments:
  edge: {members: [checkout, payments], mode: enforce}
  core: {members: [ledger, ledger-db], mode: enforce}
rules:
  - {name: ledger-stores, from: ledger, to: ledger-db, allow: [{tcp: 5432}], why: its data}
",
        mended: "segments:
  edge: {members: [checkout, payments], mode: enforce}
  core: {members: [ledger, ledger-db], mode: enforce}
rules:
  - {name: ledger-stores, from: ledger, to: ledger-db, allow: [{tcp: 5432}], why: its data}
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments}]
    why: customers pay
",
    },
    CodePage {
        code: "CW0305",
        title: "a guard that denies nobody",
        text: "Everyone whom the guard names is also an exception of it.",
        example: "guards:
  - name: data-stays
    deny: segment/edge -> ledger-db
    except: [checkout]
    why: nobody else touches the data
",
        mended: "guards:
  - name: data-stays
    deny: any -> ledger-db
    except: [ledger]
    why: nobody else touches the data
",
    },
    CodePage {
        code: "CW0306",
        title: "a path leads where `never` says that none does",
        text: "An invariant under `never` is about the whole graph of what may pass: rules, grants \
               at any time, and whatever passes because a segment or guard is in audit; less what \
               guards deny. Conditions that may hold count as holding. The finding shows a shortest \
               path that breaks it, with what lets each step pass.\n\nClose one step. If the path \
               is meant, the invariant is not: change it, with the approval that it needs.",
        example: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments}]
    why: customers pay
  - name: payments-post
    from: payments
    to: ledger
    allow: [{grpc: ledger.v1.Ledger/Post}]
    why: double entry
never:
  - name: edge-apart
    from: segment/edge
    to: ledger
    why: entries come from payments only
",
        mended: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments}]
    why: customers pay
  - name: payments-post
    from: payments
    to: ledger
    allow: [{grpc: ledger.v1.Ledger/Post}]
    why: double entry
never:
  - name: edge-apart
    from: segment/edge
    to: ledger
    through: none
    why: entries come from payments only
",
    },
    CodePage {
        code: "CW0307",
        title: "a condition that makes no difference",
        text: "The condition holds for everybody whom the statement is about, or for nobody: it \
               compares two texts, or labels that all of them share. Leave `when` out, or write \
               what was meant.",
        example: r#"rules:
  - name: core-stores
    from: [payments, ledger]
    to: ledger-db
    allow: [{tcp: 5432}]
    when: caller.tier == "data"
    why: their data
"#,
        mended: "rules:
  - name: core-stores
    from: [payments, ledger]
    to: ledger-db
    allow: [{tcp: 5432}]
    why: their data
",
    },
];
