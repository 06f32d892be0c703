//! CW00xx: what cannot be read, and keys that are not what they should be.

use super::Case;

pub(super) const CASES: &[Case] = &[
    Case {
        from: "version: cellwall/v1",
        to: "version: cellwall/v2",
        findings: &["CW0002 1:10-21 unknown version `cellwall/v2`"],
    },
    Case {
        from: "version: cellwall/v1\n",
        to: "",
        findings: &["CW0002 1:1-2 `version` is missing"],
    },
    Case {
        from: "version: cellwall/v1",
        to: "version: cellwall/v1\nversion: cellwall/v1",
        findings: &["CW0003 2:1-8 `version` stands twice"],
    },
    Case {
        from: "version: cellwall/v1",
        to: "version: 1.0",
        findings: &["CW0004 1:10-13 expected a version, found a number"],
    },
    Case {
        from: "version: cellwall/v1",
        to: "version: &v cellwall/v1",
        findings: &["CW0001 1:13-24 anchors and aliases are not part of this language"],
    },
    Case {
        from: "version: cellwall/v1",
        to: "version: !x cellwall/v1",
        findings: &["CW0001 1:13-24 unsupported tag `!x`"],
    },
    Case {
        from: "segments:",
        to: "segments: [",
        findings: &["CW0001 9:3-4 while parsing a flow mapping, did not find expected ',' or '}'"],
    },
    Case {
        from: "identity: \"spiffe://pay.example/{env}/{workload}\"\n",
        to: "",
        findings: &["CW0007 1:1-8 cellwall.yaml needs `identity`"],
    },
    Case {
        from: "identity: \"spiffe://pay.example/{env}/{workload}\"",
        to: "identity: {a: b}",
        findings: &["CW0004 2:11-12 expected an identity template, found a mapping"],
    },
    Case {
        from: "identity:",
        to: "include: [\"../*.yaml\", \"segments/*.yaml\"]\nidentity:",
        findings: &[
            "CW0008 2:11-22 `../*.yaml` is not a relative path of `.yaml` files below",
            "CW0008 2:24-41 `segments/*.yaml` matches no file",
        ],
    },
    Case {
        from: "guards:\n",
        to: "gards:\n",
        findings: &["CW0005 28:1-6 unknown key `gards` in a policy file"],
    },
    Case {
        from: "    except: [rpc]",
        to: "    excpet: [rpc]",
        findings: &["CW0005 31:5-11 unknown key `excpet` in a guard"],
    },
    Case {
        from: "    except: [rpc]",
        to: "    except: [rpc, any]",
        findings: &["CW0004 31:19-22 `any` stands alone, not in a list"],
    },
    Case {
        from: "    except: [rpc]",
        to: "    except: []",
        findings: &["CW0004 31:13-14 a selector that names nobody"],
    },
    Case {
        from: "  web: {",
        to: "  web: {listens: {http: 1}}\n  web: {",
        findings: &["CW0003 5:3-6 `web` stands twice"],
    },
    Case {
        from: "mode: enforce",
        to: "mode: permit",
        findings: &["CW0004 8:33-39 `permit` is not a mode"],
    },
    Case {
        from: ", mode: enforce}",
        to: "}",
        findings: &["CW0007 8:11-18 a segment needs `mode`"],
    },
    Case {
        from: "    from: web",
        to: "    from: true",
        findings: &["CW0004 14:11-15 expected a selector, found a boolean"],
    },
    Case { from: "    from: web\n", to: "", findings: &["CW0007 13:5-9 a rule needs `from`"] },
    Case {
        from: "    role: reader",
        to: "    role: reader\n    to: rpc",
        findings: &["CW0009 16:5-7 a rule with `role` has no `to`"],
    },
    Case {
        from: "    role: reader\n",
        to: "",
        findings: &["CW0007 13:5-9 a rule needs `role` or `to`"],
    },
    Case {
        from: "    allow: [{tcp: 5432}]\n",
        to: "",
        findings: &["CW0007 17:5-9 a rule with `to` needs `allow`"],
    },
    Case {
        from: "{http: 8443}",
        to: "{quic: 1}",
        findings: &["CW0005 4:19-23 unknown key `quic` in a listener"],
    },
    Case {
        from: "{tcp: 5432}]",
        to: "{udp: 5432}]",
        findings: &["CW0005 20:14-17 unknown key `udp` in a call"],
    },
    Case {
        from: "[{tcp: 5432}]",
        to: "[]",
        findings: &["CW0004 20:12-13 a list of calls that names none"],
    },
    Case {
        from: "    deny: any -> db",
        to: "    deny: any db",
        findings: &["CW0004 30:11-17 `any db` is not `A -> B`"],
    },
    Case {
        from: "expect: allow",
        to: "expect: yes",
        findings: &["CW0004 34:14-17 `yes` is not a verdict"],
    },
    Case {
        from: "roles:",
        to: "<<: {roles: {}}\nroles:",
        findings: &["CW0001 10:1-3 merge keys are not part of this language"],
    },
    Case {
        from: "roles:",
        to: "---\nroles:",
        findings: &["CW0001 10:1-4 one file holds one document"],
    },
    Case {
        from: "    from: web",
        to: "    from: *web",
        findings: &["CW0001 14:11-12 anchors and aliases are not part of this language"],
    },
];
