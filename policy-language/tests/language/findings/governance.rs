//! Grants, listeners, boundaries, owners, and what the root file says.

use super::Case;

const GUARDS: &str = "guards:\n";

/// A grant of one hour, from `rpc` to `web`.
const fn grant(to: &'static str, findings: &'static [&'static str]) -> Case {
    Case { from: GUARDS, to, findings }
}

/// A key of the root file.
const fn root(to: &'static str, findings: &'static [&'static str]) -> Case {
    Case { from: "identity:", to, findings }
}

pub(super) const CASES: &[Case] = &[
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T18:00:00Z, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &[],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T18:00:01Z, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &["CW0303 29:83-103 grant `INC-1` lasts 8h 1s"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T10:00:00Z, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &["CW0303 29:83-103 grant `INC-1` ends before it begins"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T11:00:00Z, expires: 2026-03-02T10:00:00Z, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &["CW0303 29:83-103 grant `INC-1` ends before it begins"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00+01:00, expires: 2026-03-02, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &[
            "CW0004 29:52-77 `2026-03-02T10:00:00+01:00` is not a point in time",
            "CW0004 29:88-98 `2026-03-02` is not a point in time",
        ],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00.5Z, expires: 2026-03-02T10:30:00Z, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &["CW0004 29:52-74 `2026-03-02T10:00:00.5Z` is not a point in time"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, why: w}\nguards:\n",
        &["CW0007 29:6-10 a grant needs `expires`"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, why: w}\nguards:\n",
        &["CW0404 29:12-17 grant `INC-1` is approved by nobody"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, why: w, approved_by: [a@x, A@x]}\nguards:\n",
        &["CW0404 29:127-130 grant `INC-1` is approved by one person"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, why: w, approved_by: [alice, b@x, c@x]}\nguards:\n",
        &["CW0102 29:127-132 `alice` is not a person"],
    ),
    grant(
        "grants:\n  - {name: INC-1, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, why: w, approved_by: [\"@x\", \"a@\", \"a b@x\", \"a@b@x\", 'a\"@x', a@x, b@x]}\nguards:\n",
        &[
            "CW0102 29:127-131 `@x` is not a person",
            "CW0102 29:133-137 `a@` is not a person",
            "CW0102 29:139-146 `a b@x` is not a person",
            "CW0102 29:148-155 `a@b@x` is not a person",
            "CW0102 29:157-163 `a\"@x` is not a person",
        ],
    ),
    grant(
        "grants:\n  - {name: INC_1, from: rpk, to: db, allow: [{tcp: 1}], starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, approved_by: [a@x, b@x]}\nguards:\n",
        &[
            "CW0401 29:6-10 a grant without `why`",
            "CW0102 29:12-17 `INC_1` is not a name",
            "CW0104 29:25-28 unknown workload `rpk`",
            "CW0203 29:52-53 port 1 is not the declared port",
        ],
    ),
    grant(
        "grants:\n  - {name: web-reads, from: web, to: db, allow: [{tcp: 5432}], starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &["CW0301 29:29-32 grant `web-reads` is fully shadowed by guard `no-db`"],
    ),
    grant(
        "grants:\n  - &a {name: web-reads}\nguards:\n",
        &["CW0001 29:8-9 anchors and aliases are not part of this language"],
    ),
    grant(
        "grants:\n  - {name: one, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, why: w, approved_by: [a@x, b@x]}\n  - {name: two, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:00Z, why: w, approved_by: [a@x, b@x]}\n  - {name: later, from: rpc, role: reader, starts: 2026-03-02T10:00:00Z, expires: 2026-03-02T11:00:01Z, why: w, approved_by: [a@x, b@x]}\nguards:\n",
        &["warning CW0302 30:12-15 grant `two` says what `one` says"],
    ),
    // Tests.
    Case {
        from: "by: web-reads}",
        to: "by: grant/web-reads}",
        findings: &["CW0115 34:64-79 nothing is called `grant/web-reads`"],
    },
    Case { from: "by: web-reads}", to: "by: web-reads, at: 2026-03-02T14:00:00Z}", findings: &[] },
    Case {
        from: "by: web-reads}",
        to: "by: web-reads, at: noon}",
        findings: &["CW0004 34:79-83 `noon` is not a point in time"],
    },
    // Listeners.
    Case {
        from: "{http: 8443}",
        to: "[{http: 1}, {tcp: 1}]",
        findings: &["CW0204 4:31-37 port 1 stands twice"],
    },
    Case {
        from: "{http: 8443}",
        to: "[]",
        findings: &["CW0204 4:18-19 a workload has 1 to 16 listeners"],
    },
    Case {
        from: "{http: 8443}",
        to: "[{http: 1}, {http: 2}, {http: 3}, {http: 4}, {http: 5}, {http: 6}, {http: 7}, {http: 8}, {http: 9}, {http: 10}, {http: 11}, {http: 12}, {http: 13}, {http: 14}, {http: 15}, {http: 16}]",
        findings: &[],
    },
    Case {
        from: "{http: 8443}",
        to: "[{http: 1}, {http: 2}, {http: 3}, {http: 4}, {http: 5}, {http: 6}, {http: 7}, {http: 8}, {http: 9}, {http: 10}, {http: 11}, {http: 12}, {http: 13}, {http: 14}, {http: 15}, {http: 16}, {http: 17}]",
        findings: &["CW0204 4:18-19 a workload has 1 to 16 listeners"],
    },
    Case {
        from: "{http: 8443}",
        to: "[{http: 1}, {grpc: 0}]",
        findings: &["CW0204 4:37-38 a port is a number from 1 to 65535"],
    },
    Case {
        from: "{tcp: 5432},",
        to: "[{tcp: 1}, {tcp: 2}, {http: 3}],",
        findings: &["CW0203 20:19-23 port 5432 is not a declared port"],
    },
    Case {
        from: "{tcp: 5432},",
        to: "[{tcp: 1}, {http: 3}],",
        findings: &["CW0203 20:19-23 port 5432 is not the declared port"],
    },
    Case {
        from: "{tcp: 5432},",
        to: "[{grpc: 1}, {http: 3}],",
        findings: &["CW0203 20:19-23 `tcp` call, and no `tcp` port"],
    },
    // Guards.
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    calls: [{tcp: 5432}]\n    mode: audit\n",
        findings: &[],
    },
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    calls: [{http: GET /}]\n",
        findings: &["CW0203 32:20-25 `http` call on a `tcp` port"],
    },
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    calls: [{tcp: 5433}]\n    mode: observe\n",
        findings: &["CW0004 33:11-18 `observe` is not a mode"],
    },
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    calls: []\n",
        findings: &["CW0004 32:12-13 a list of calls that names none"],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: any -> any\n    calls: [{tcp: 5432}]\n",
        findings: &["CW0301 18:11-14 rule `rpc-stores` is fully shadowed by guard `no-db`"],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: any -> web\n    calls: [{http: \"GET /v1/{all...}\"}]\n",
        findings: &["CW0301 23:11-14 rule `all-look` is fully shadowed by guard `no-db`"],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: any -> web\n    calls: [{http: \"GET /v1/things/x\"}]\n",
        findings: &[],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: web -> rpc\n    calls: [{grpc: a.v1.A/*}]\n",
        findings: &["CW0301 14:11-14 rule `web-reads` is fully shadowed by guard `no-db`"],
    },
    Case { from: "    except: [rpc]\n", to: "    mode: audit\n", findings: &[] },
    Case { from: "    except: [rpc]\n", to: "    when: caller.env == \"prod\"\n", findings: &[] },
    // The boundary, and who is beyond.
    Case {
        from: "    from: web\n",
        to: "    from: web\n    across: [evn]\n",
        findings: &["CW0106 15:14-17 `identity` has no variable `{evn}`"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: web\n    across: []\n",
        findings: &["CW0004 15:13-14 a list of variables that names none"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: web\n    across: env\n",
        findings: &["CW0004 15:13-16 expected a list of variables, found a text"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: [web, \"spiffe://partner.example/x\"]\n    across: [env]\n",
        findings: &[],
    },
    Case {
        from: "    from: web\n",
        to: "    from: spiffe://partner.example/x\n",
        findings: &["CW0116 14:11-37 an ID of another trust domain has no environment"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: spiffe://pay.example/prod/web\n    across: [env]\n",
        findings: &["CW0116 14:11-40 `spiffe://pay.example/prod/web` is of our own trust domain"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: spiffe://pay.example/prod/nobody\n    across: [env]\n",
        findings: &[
            "CW0116 14:11-43 `spiffe://pay.example/prod/nobody` is of our own trust domain",
        ],
    },
    Case {
        from: "    from: web\n",
        to: "    from: spiffe://Partner.example/x\n    across: [env]\n",
        findings: &["CW0116 14:11-37 `spiffe://Partner.example/x` is not a whole SPIFFE ID"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: spiffe://partner.example\n    across: [env]\n",
        findings: &["CW0116 14:11-35 `spiffe://partner.example` is not a whole SPIFFE ID"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: spiffe://partner.example/cellwall/x\n    across: [env]\n",
        findings: &[
            "CW0109 14:11-46 IDs below `/cellwall/` are Cellwall's own, here and elsewhere",
        ],
    },
    Case {
        from: "    to: db\n",
        to: "    to: spiffe://partner.example/x\n",
        findings: &["CW0116 19:9-35 an ID of another trust domain cannot be called here"],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: spiffe://partner.example/x -> db\n    except: [spiffe://partner.example/y]\n",
        findings: &[],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: spiffe://partner.example/x -> db\n    except: [spiffe://partner.example/x]\n",
        findings: &["CW0305 29:11-16 guard `no-db` denies nobody"],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: rpc -> spiffe://partner.example/x\n",
        findings: &["CW0116 30:18-44 an ID of another trust domain cannot be called here"],
    },
    // Segments.
    Case { from: "from: any\n", to: "from: rpc\n", findings: &[] },
    Case {
        from: "    from: any\n    to: web\n",
        to: "    from: rpc\n    to: rpc\n",
        findings: &["CW0203 26:15-34 `http` call on a `grpc` port"],
    },
    // Owners and reviews.
    root("owner: team\nidentity:", &[]),
    root("owner: [a]\nidentity:", &["CW0004 2:8-9 expected who owns it, found a list"]),
    root("owner: My Team\nidentity:", &["CW0102 2:8-15 `My Team` is neither a team nor a person"]),
    root("review_by: 2026-09-31\nidentity:", &["CW0004 2:12-22 `2026-09-31` is not a day"]),
    root(
        "review_by: 2026-09-01T00:00:00Z\nidentity:",
        &["CW0004 2:12-32 `2026-09-01T00:00:00Z` is not a day"],
    ),
    Case {
        from: "    from: web\n",
        to: "    from: web\n    owner: a@b\n    review_by: soon\n",
        findings: &["CW0004 16:16-20 `soon` is not a day"],
    },
    Case {
        from: "    from: web\n",
        to: "    from: web\n    owner: a@b\n    review_by: 2026-09-01\n",
        findings: &["warning CW0403 19:11-21 `rpc-stores` and 2 more have no owner"],
    },
    // The root file.
    root("probes: [GET /livez, HEAD /readyz]\nidentity:", &[]),
    root(
        "probes: [GET /livez, GET /livez]\nidentity:",
        &["CW0101 2:22-32 the probe `GET /livez` stands twice"],
    ),
    root(
        "probes: [GET, get /a, \"GET /{x}\", GET /a?b, 7]\nidentity:",
        &[
            "CW0201 2:10-13 `GET` is not a probe",
            "CW0201 2:15-21 `get /a` is not a probe",
            "CW0201 2:23-33 `GET /{x}` is not a probe",
            "CW0201 2:35-43 `GET /a?b` is not a probe",
            "CW0004 2:45-46 expected `METHOD /path`, found a number",
        ],
    ),
    root("limits: {grant_max: 8h, svid_ttl: 1h}\nidentity:", &[]),
    root(
        "limits: {grant_max: 30s, svid_ttl: 2days}\nidentity:",
        &[
            "CW0004 2:21-24 30s is not between 1m and 7days",
            "CW0004 2:36-41 2days is not between 10s and 1day",
        ],
    ),
    root(
        "limits: {grant_max: 8, svid_ttl: 1x, rate: 3}\nidentity:",
        &[
            "CW0004 2:21-22 `8` is not a length of time",
            "CW0004 2:34-36 `1x` is not a length of time",
            "CW0006 2:38-42 this release does not know `rate` in limits yet",
        ],
    ),
    root("limits: {grantmax: 8h}\nidentity:", &["CW0005 2:10-18 unknown key `grantmax` in limits"]),
    root(
        "approvals: {default: {from: [platform], count: 1}, segment/front: {from: [a@x, b@x], count: 2}}\nidentity:",
        &[],
    ),
    root(
        "approvals: {default: {from: [a@x], count: 2}, guards: {from: [x], count: 0}, operators: {from: [], count: 1}}\nidentity:",
        &[
            "CW0004 2:43-44 2 cannot say yes: `from` names one person",
            "CW0004 2:74-75 nobody has to say yes",
            "CW0004 2:107-108 1 cannot say yes: `from` names 0 people",
        ],
    ),
    root(
        "approvals: {segment/fornt: {from: [x], count: 1}, rules: {from: [x], count: 1}, default: {from: [x y], count: many}}\nidentity:",
        &[
            "CW0103 2:13-26 unknown segment `fornt`",
            "CW0005 2:51-56 unknown key `rules` in approvals",
            "CW0102 2:98-101 `x y` is neither a group nor a person",
            "CW0004 2:111-115 expected a number of people, found a text",
        ],
    ),
    root("operators: {viewer: [group/all, a@x], editor: []}\nidentity:", &[]),
    root(
        "operators: {admin: [group/all], viewer: [all, group/x y]}\nidentity:",
        &[
            "CW0005 2:13-18 unknown key `admin` in operators",
            "CW0102 2:42-45 `all` is neither a group nor a person",
            "CW0102 2:47-56 `group/x y` is neither a group nor a person",
        ],
    ),
    root(
        "never: [{name: a, from: web, to: db, through: none, why: w}, {name: b, from: segment/front, to: {tier: data}, through: none, why: w}]\nidentity:",
        &[],
    ),
    root(
        "never: [{name: a, from: web, to: rpc, why: w}]\nidentity:",
        &["CW0306 2:16-17 `a` is broken: web -> rpc (rule web-reads, cellwall.yaml:14)"],
    ),
    root(
        "never: [{name: a, from: wbe, to: spiffe://x/y, through: all}, {name: c}]\nidentity:",
        &[
            "CW0401 2:10-14 what must never be without `why`",
            "CW0004 2:57-60 `all` is neither `any` nor `none`",
            "CW0007 2:64-68 what must never be needs `from`",
            "CW0007 2:64-68 what must never be needs `to`",
            "CW0401 2:64-68 what must never be without `why`",
        ],
    ),
    root(
        "never: [{name: a, from: web, to: db, why: w}, {name: a, from: rpc, to: web, why: w}]\nidentity:",
        &["CW0101 2:54-55 two invariants are called `a`"],
    ),
];
