//! CW04xx: reasons, owners, reviews and approvals.

use super::CodePage;

pub(super) const PAGES: &[CodePage] = &[
    CodePage {
        code: "CW0401",
        title: "no reason",
        text: "Rules and guards have a `why`: PCI DSS 1.2.5 asks for the business need of each \
               connection, and the next reader does too.",
        example: "guards:
  - {name: data-stays, deny: checkout -> ledger-db}
",
        mended: "guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: PCI 1.3.1}
",
    },
    CodePage {
        code: "CW0402",
        title: "the day of review has passed",
        text: "`review_by` is the last day on which the statements count as looked at (PCI DSS \
               1.2.7: every six months). Look at them and write a new day. Nothing closes by \
               itself.",
        example: "review_by: 2026-03-01
guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: PCI 1.3.1}
",
        mended: "review_by: 2031-09-01
guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: PCI 1.3.1}
",
    },
    CodePage {
        code: "CW0403",
        title: "nobody owns it",
        text: "Other statements of this policy have an `owner`, and this one has none: neither \
               its own nor its file's. Somebody must answer when it is reviewed.",
        example: "guards:
  - {name: data-stays, deny: checkout -> ledger-db, owner: dba, why: PCI 1.3.1}
  - {name: no-way-back, deny: ledger-db -> any, why: it calls nobody}
",
        mended: "owner: security
guards:
  - {name: data-stays, deny: checkout -> ledger-db, why: PCI 1.3.1}
  - {name: no-way-back, deny: ledger-db -> any, why: it calls nobody}
",
    },
    CodePage {
        code: "CW0404",
        title: "a grant without two approvals",
        text: "`approved_by` of a grant lists at least two different people. One person in two \
               spellings is one person.",
        example: "grants:
  - name: INC-4821
    from: payments
    to: ledger-db
    allow: [{tcp: 5432}]
    starts:  2026-03-02T10:00:00Z
    expires: 2026-03-02T14:00:00Z
    why: duplicate postings after failover
    approved_by: [alice@pay.example]
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
        code: "CW0405",
        title: "a grant that is over",
        text: "The grant allows nothing any more: the sidecars ended it by their own clocks. \
               Remove it; the history of the files keeps it.",
        example: "grants:
  - name: INC-4821
    from: payments
    to: ledger-db
    allow: [{tcp: 5432}]
    starts:  2026-03-02T10:00:00Z
    expires: 2026-03-02T14:00:00Z
    why: duplicate postings after failover
    approved_by: [alice@pay.example, bob@pay.example]
",
        mended: "grants:
  - name: INC-4821
    from: payments
    to: ledger-db
    allow: [{tcp: 5432}]
    starts:  2031-03-02T10:00:00Z
    expires: 2031-03-02T14:00:00Z
    why: duplicate postings after failover
    approved_by: [alice@pay.example, bob@pay.example]
",
    },
];
