//! CW01xx: names, identities, entries.

use super::Case;

pub(super) const CASES: &[Case] = &[
    Case {
        from: "identity: \"spiffe://pay.example/{env}/{workload}\"",
        to: "identity: \"spiffe://pay.example/{env}/x\"",
        findings: &["CW0108 2:11-41 an identity template has `{workload}` exactly once"],
    },
    Case {
        from: "identity: \"spiffe://pay.example/{env}/{workload}\"",
        to: "identity: \"spiffe://Pay.example/{env}/{workload}\"",
        findings: &["CW0108 2:11-50 `Pay.example` is not a canonical trust domain name"],
    },
    Case {
        from: "identity: \"spiffe://pay.example/{env}/{workload}\"",
        to: "identity: \"spiffe://pay.example/cellwall/{workload}\"",
        findings: &["CW0109 2:11-53 IDs below `/cellwall/` are Cellwall's own"],
    },
    Case {
        from: "    except: [rpc]",
        to: "    except: [rpk]",
        findings: &["CW0104 31:14-17 unknown workload `rpk`"],
    },
    Case {
        from: "  web: {",
        to: "  Web: {",
        findings: &[
            "CW0102 4:3-6 `Web` is not a name",
            "CW0104 8:21-24 unknown workload `web`",
            "CW0104 14:11-14 unknown workload `web`",
            "CW0104 24:9-12 unknown workload `web`",
        ],
    },
    Case {
        from: "  web: {",
        to: "  any: {",
        findings: &[
            "CW0102 4:3-6 `any` is a selector, not a name",
            "CW0107 4:3-6 `any` is in no segment",
            "CW0104 8:21-24 unknown workload `web`",
            "CW0104 14:11-14 unknown workload `web`",
            "CW0104 24:9-12 unknown workload `web`",
        ],
    },
    Case {
        from: "  - name: rpc-stores",
        to: "  - name: web-reads",
        findings: &["CW0101 17:11-20 two rules are called `web-reads`"],
    },
    Case {
        from: "  front: {members: [web], mode: enforce}",
        to: "  front: {members: [web, rpc], mode: enforce}",
        findings: &["CW0107 9:20-23 `rpc` is in two segments"],
    },
    Case {
        from: "  front: {members: [web], mode: enforce}",
        to: "  front: {members: [], mode: enforce}",
        findings: &["CW0107 4:3-6 `web` is in no segment"],
    },
    Case {
        from: "    from: web",
        to: "    from: wbe",
        findings: &["CW0104 14:11-14 unknown workload `wbe`"],
    },
    Case {
        from: "    from: web",
        to: "    from: segment/frnt",
        findings: &["CW0103 14:11-23 unknown segment `frnt`"],
    },
    Case {
        from: "segments:",
        to: "segments:\n  void: {members: [], mode: enforce}",
        findings: &[],
    },
    Case {
        from: "    from: web",
        to: "    from: {tier: egde}",
        findings: &["CW0106 14:18-22 no workload has `tier: egde`"],
    },
    Case {
        from: "    from: web",
        to: "    from: {tire: edge}",
        findings: &["CW0106 14:12-16 no workload has a label `tire`"],
    },
    Case {
        from: "    from: web",
        to: "    from: \"\"",
        findings: &["CW0102 14:11-13 `` is not a selector"],
    },
    Case {
        from: "    role: reader",
        to: "    role: raeder",
        findings: &["CW0105 15:11-17 unknown role `raeder`"],
    },
    Case {
        from: "\"/{env}/vm/db\"",
        to: "\"/vm/{env}/db\"",
        findings: &[
            "CW0108 6:56-70 an `id` has the template's variables at the template's places: `{env}` is segment 1",
        ],
    },
    Case {
        from: "\"/{env}/vm/db\"",
        to: "\"/{env}/web\"",
        findings: &["CW0110 6:56-68 `db` has the identity of `web`"],
    },
    Case {
        from: "[\"unix:uid:1001\"]",
        to: "[\"unix:uid:0\"]",
        findings: &["CW0113 4:63-67 an entry without a selector that narrows it"],
    },
    Case {
        from: "[\"unix:uid:1001\"]",
        to: "[\"unix:gid:7\", \"unix:uid:0\"]",
        findings: &["CW0113 4:63-67 an entry without a selector that narrows it"],
    },
    Case {
        from: "[\"unix:uid:1001\"]",
        to: "[]",
        findings: &["CW0113 4:63-67 an entry without a selector that narrows it"],
    },
    Case {
        from: "[\"unix:uid:1001\"]",
        to: "[\"unix:uid:01\", \"unix:pid:1\", \"unix:path:bin\", \"unix:path:/a/../b\", \"k8s:sa:x\"]",
        findings: &[
            "CW0112 4:70-83 `unix:uid:01` is not a selector of a process",
            "CW0112 4:85-97 `unix:pid:1` is not a selector of a process",
            "CW0112 4:99-114 `unix:path:bin` is not a selector of a process",
            "CW0112 4:116-135 `unix:path:/a/../b` is not a selector of a process",
            "CW0112 4:137-147 `k8s:sa:x` is not a selector of a process",
        ],
    },
    Case {
        from: "{prod: [",
        to: "{Prod: [",
        findings: &["CW0111 4:63-67 `Prod` is not an environment"],
    },
    Case {
        from: "{prod: [",
        to: "{cellwall: [",
        findings: &["CW0109 4:63-71 IDs below `/cellwall/` are Cellwall's own"],
    },
    Case {
        from: "{prod: [",
        to: "{\"\": [",
        findings: &[
            "CW0111 4:63-65 the environment `` does not give each variable of the template a value",
        ],
    },
    Case {
        from: "{prod: [",
        to: "{eu/prod: [",
        findings: &[
            "CW0111 4:63-70 the environment `eu/prod` does not give each variable of the template a value",
        ],
    },
    Case {
        from: "{prod: [\"unix:uid:1001\"]}",
        to: "{prod: [\"unix:uid:1001\"], staging: [\"unix:uid:1001\"]}",
        findings: &["CW0114 4:88-95 `staging/web` has the selectors of `prod/web`"],
    },
    Case {
        from: "{prod: [\"unix:uid:1001\"]}",
        to: "{prod: [\"unix:uid:1001\"], staging: [\"unix:uid:1001\", \"unix:gid:7\"]}",
        findings: &["warning CW0114 4:88-95 a process of `staging/web` also earns `prod/web`"],
    },
    // A part of a part, in the order of the selectors.
    Case {
        from: "{prod: [\"unix:uid:1001\"]}",
        to: "{a: [\"unix:uid:1\"], b: [\"unix:path:/x\"], c: [\"unix:gid:3\", \"unix:path:/x\"], d: [\"unix:gid:3\", \"unix:path:/x\", \"unix:uid:1\"]}",
        findings: &[
            "warning CW0114 4:103-104 a process of `c/web` also earns `b/web`",
            "warning CW0114 4:138-139 a process of `d/web` also earns `b/web`",
            "warning CW0114 4:138-139 a process of `d/web` also earns `c/web`",
            "warning CW0114 4:138-139 a process of `d/web` also earns `a/web`",
        ],
    },
    // What is not an entry is not compared with others.
    Case {
        from: "{prod: [\"unix:uid:1001\"]}",
        to: "{prod: [\"unix:uid:1001\", \"unix:pid:1\"], eu: [\"unix:uid:1001\"]}",
        findings: &["CW0112 4:87-99 `unix:pid:1` is not a selector of a process"],
    },
    Case {
        from: "{prod: [\"unix:uid:1001\"]}",
        to: "{prod: [\"unix:gid:7\"], eu: [\"unix:gid:7\", \"unix:uid:1001\"]}",
        findings: &["CW0113 4:63-67 an entry without a selector that narrows it"],
    },
    Case {
        from: "[\"unix:uid:1001\"]",
        to: "[\"unix:uid:1\", \"unix:gid:1\", \"unix:gid:2\", \"unix:gid:3\", \"unix:gid:4\", \"unix:gid:5\", \"unix:gid:6\", \"unix:gid:7\"]",
        findings: &[],
    },
    Case {
        from: "[\"unix:uid:1001\"]",
        to: "[\"unix:uid:1\", \"unix:gid:1\", \"unix:gid:2\", \"unix:gid:3\", \"unix:gid:4\", \"unix:gid:5\", \"unix:gid:6\", \"unix:gid:7\", \"unix:gid:8\"]",
        findings: &["CW0010 4:63-67 an entry of more than 8 selectors"],
    },
    Case {
        from: "    deny: any -> db",
        to: "    deny: any -> bd",
        findings: &["CW0104 30:18-20 unknown workload `bd`"],
    },
    Case {
        from: "    deny: any -> db",
        to: "    deny: \"[web, bd] -> {tier: data}\"",
        findings: &["CW0104 30:11-38 unknown workload `bd`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/wbe -> prod/rpc a.v1.A/Get",
        findings: &["CW0104 34:27-35 unknown workload `wbe`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "web -> prod/rpc a.v1.A/Get",
        findings: &[
            "CW0111 34:27-30 the environment `` does not give each variable of the template a value",
        ],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "cellwall/web -> prod/rpc a.v1.A/Get",
        findings: &["CW0109 34:27-39 IDs below `/cellwall/` are Cellwall's own"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "Prod/web -> prod/rpc a.v1.A/Get",
        findings: &["CW0111 34:27-35 `Prod` is not an environment"],
    },
    Case {
        from: "by: web-reads",
        to: "by: web-raeds",
        findings: &["CW0115 34:64-73 nothing is called `web-raeds`"],
    },
];
