//! CW03xx and CW04xx: statements that contradict each other or give no reason.

use super::Case;

pub(super) const CASES: &[Case] = &[
    Case {
        from: "    except: [rpc]",
        to: "    except: any",
        findings: &["CW0305 29:11-16 guard `no-db` denies nobody"],
    },
    Case { from: "    why: to show\n", to: "", findings: &["CW0401 13:5-9 a rule without `why`"] },
    Case {
        from: "    why: to show",
        to: "    why: \"\"",
        findings: &["CW0401 16:10-12 a rule without `why`"],
    },
    Case {
        from: "    why: data stays\n",
        to: "",
        findings: &["CW0401 29:5-9 a guard without `why`"],
    },
    Case {
        from: "    except: [rpc]\n",
        to: "",
        findings: &["CW0301 18:11-14 rule `rpc-stores` is fully shadowed by guard `no-db`"],
    },
    // `any` of a guard is also whoever is of another trust domain.
    Case {
        from: "    from: rpc\n    to: db\n",
        to: "    from: \"spiffe://bank.example/x\"\n    across: [env]\n    to: db\n",
        findings: &["CW0301 18:11-36 rule `rpc-stores` is fully shadowed by guard `no-db`"],
    },
    Case {
        from: "rules:\n",
        to: "rules:\n  - {name: again, from: rpc, to: db, allow: [{tcp: 5432}], why: twice}\n",
        findings: &["warning CW0302 18:11-21 rule `rpc-stores` says what `again` says"],
    },
];
