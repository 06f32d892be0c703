//! Conditions: what cannot be read, what is not known, what makes no difference.

use super::Case;

const WEB: &str = "    from: web\n";

/// A condition of the rule `web-reads`: from `web` to `rpc`.
const fn when(to: &'static str, findings: &'static [&'static str]) -> Case {
    Case { from: WEB, to, findings }
}

pub(super) const CASES: &[Case] = &[
    when("    from: web\n    when: caller.env == \"prod\"\n", &[]),
    when(
        "    from: web\n    when: caller.env = 'prod'\n",
        &["CW0206 15:22-23 `=` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: \"caller.env = 'prod'\"\n",
        &["CW0206 15:23-24 `=` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: |\n      caller.env =\n      'prod'\n",
        &["CW0206 16:7-19 `=` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: [caller.env]\n",
        &["CW0004 15:11-12 expected a condition, found a list"],
    ),
    when(
        "    from: web\n    when: true\n",
        &["CW0004 15:11-15 expected a condition, found a boolean"],
    ),
    when("    from: web\n    when: \"\"\n", &["CW0206 15:12-13 an empty condition"]),
    when(
        "    from: web\n    when: caller.env == \"prod\" and callee.env == \"prod\"\n",
        &["CW0206 15:32-35 `and` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: not caller.env == \"prod\"\n",
        &["CW0206 15:11-14 `not` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.env == \"prod\" &\n",
        &["CW0206 15:32-33 `&` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.env.startsWith(\"pr\")\n",
        &["CW0206 15:21-32 functions such as `startsWith()` are not part of a condition"],
    ),
    when(
        "    from: web\n    when: size(caller.env) == \"1\"\n",
        &["CW0206 15:11-15 functions such as `size()` are not part of a condition"],
    ),
    when(
        "    from: web\n    when: has(caller.tier)\n",
        &["CW0206 15:11-14 functions such as `has()` are not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier =~ \"e.*\"\n",
        &["CW0206 15:23-25 `=~` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier == 3\n",
        &["CW0206 15:26-27 the number 3 in a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier > \"a\"\n",
        &["CW0206 15:23-24 `>` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier == edge\n",
        &["CW0206 15:26-30 `edge` is neither an attribute nor a text"],
    ),
    when(
        "    from: web\n    when: caller == \"web\"\n",
        &["CW0206 15:11-17 `caller` needs the name of an attribute"],
    ),
    when(
        "    from: web\n    when: caller.tier\n",
        &["CW0206 15:11-22 `caller.tier` alone is not a condition"],
    ),
    when(
        "    from: web\n    when: caller.\n",
        &["CW0206 15:11-18 `caller.` needs the name of an attribute"],
    ),
    when(
        "    from: web\n    when: caller.labels.tier == \"edge\"\n",
        &["CW0206 15:11-24 `caller.labels` has no parts"],
    ),
    when(
        "    from: web\n    when: caller[\"tier\"] == \"edge\"\n",
        &["CW0206 15:11-18 `caller[` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier in \"edge\"\n",
        &["CW0206 15:26-32 expected a list after `in`, found `\"edge\"`"],
    ),
    when("    from: web\n    when: caller.tier in []\n", &["CW0206 15:26-28 an empty list"]),
    when(
        "    from: web\n    when: caller.tier in [edge]\n",
        &["CW0206 15:27-31 expected a text in the list, found `edge`"],
    ),
    when(
        "    from: web\n    when: caller.tier in [\"edge\"\n",
        &["CW0206 15:26-27 `[` is never closed"],
    ),
    when(
        "    from: web\n    when: (caller.tier == \"edge\"\n",
        &["CW0206 15:11-12 `(` is never closed"],
    ),
    when(
        "    from: web\n    when: caller.tier == \"edge\")\n",
        &["CW0206 15:32-33 `)` closes nothing"],
    ),
    when(
        "    from: web\n    when: caller.tier == \"edge\" == \"edge\"\n",
        &["CW0206 15:33-35 a comparison of a comparison"],
    ),
    when(
        "    from: web\n    when: caller.tier == \"edge\" \"core\"\n",
        &["CW0206 15:33-39 expected `&&`, `||` or the end, found `\"core\"`"],
    ),
    when(
        "    from: web\n    when: caller.tier == \"edge\n",
        &["CW0206 15:26-31 a text without its closing quote"],
    ),
    when(
        "    from: web\n    when: caller.tier == 'ed\\ge'\n",
        &["CW0206 15:29-30 a text in a condition has no escapes"],
    ),
    when(
        "    from: web\n    when: caller.tier == “edge”\n",
        &["CW0206 15:26-27 `“` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier == \"edge\" ? a\n",
        &["CW0206 15:33-34 `?` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier not in [\"core\"]\n",
        &["CW0206 15:23-26 `not` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: null == caller.tier\n",
        &["CW0206 15:11-15 `null` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier == 42\n",
        &["CW0206 15:26-28 the number 42 in a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier == true\n",
        &["CW0206 15:26-30 `true` is not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier(\"edge\")\n",
        &["CW0206 15:11-22 functions such as `tier()` are not part of a condition"],
    ),
    when(
        "    from: web\n    when: caller.tier ne \"edge\"\n",
        &["CW0206 15:23-25 `ne` is not part of a condition"],
    ),
    // Names.
    when(
        "    from: web\n    when: caller.teir == \"edge\"\n",
        &["CW0106 15:11-22 unknown attribute `caller.teir`"],
    ),
    when(
        "    from: web\n    when: calller.tier == \"edge\"\n",
        &["CW0106 15:11-23 unknown attribute `calller.tier`"],
    ),
    when(
        "    from: web\n    when: request.path == \"edge\"\n",
        &["CW0106 15:11-23 unknown attribute `request.path`"],
    ),
    when(
        "    from: web\n    when: caller.region == \"eu\"\n",
        &["CW0106 15:11-24 unknown attribute `caller.region`"],
    ),
    when(
        "    from: web\n    when: caller.tier in [\"egde\", \"core\"]\n",
        &["CW0106 15:27-33 no workload has `tier: egde`"],
    ),
    when(
        "    from: web\n    when: callee.workload == \"rcp\"\n",
        &["CW0104 15:30-35 unknown workload `rcp`"],
    ),
    when(
        "    from: web\n    when: callee.segment != \"bakc\"\n",
        &["CW0103 15:29-35 unknown segment `bakc`"],
    ),
    when(
        "    from: web\n    when: caller.env == \"Prod\"\n",
        &["CW0206 15:25-31 `Prod` is never the value of `{env}`"],
    ),
    when(
        "    from: web\n    when: tls.version == \"1.2\"\n",
        &["CW0106 15:26-31 `tls.version` is never `1.2`"],
    ),
    when(
        "    from: web\n    when: tls.group in [\"X25519MLKEM786\"]\n",
        &["CW0106 15:25-41 `tls.group` is never `X25519MLKEM786`"],
    ),
    when(
        "    from: web\n    when: tls.cipher == \"x\"\n",
        &["CW0106 15:11-21 unknown attribute `tls.cipher`"],
    ),
    when(
        "    from: web\n    when: tls.version == caller.env\n",
        &["CW0206 15:11-36 `tls.version` and `caller.env` are never the same kind of thing"],
    ),
    when(
        "    from: web\n    when: tls.version == tls.group\n",
        &["CW0206 15:11-35 `tls.version` and `tls.group` are never the same kind of thing"],
    ),
    when("    from: web\n    when: tls.version == \"1.3\" && tls.group != \"secp256r1\"\n", &[]),
    Case {
        from: "{tier: core}",
        to: "{tier: core, env: x}, attest: {prod: [\"unix:uid:7\"]}",
        findings: &[],
    },
    // No difference.
    when(
        "    from: web\n    when: '\"a\" == \"a\"'\n",
        &["warning CW0307 15:12-22 this always holds"],
    ),
    when(
        "    from: web\n    when: '\"a\" in [\"b\"] || caller.env == \"prod\"'\n",
        &["warning CW0307 15:12-24 this never holds"],
    ),
    when(
        "    from: web\n    when: caller.tier == \"edge\"\n",
        &["warning CW0307 15:11-32 this condition always holds"],
    ),
    when(
        "    from: web\n    when: caller.tier == \"core\"\n",
        &["warning CW0307 15:11-32 this condition never holds, so nothing is allowed"],
    ),
    when(
        "    from: web\n    when: caller.env == callee.env\n",
        &["warning CW0307 15:11-35 this condition always holds"],
    ),
    when("    from: web\n    across: [env]\n    when: caller.env == callee.env\n", &[]),
    when(
        "    from: web\n    when: caller.env == \"prod\" || caller.env != \"prod\"\n",
        &["warning CW0307 15:11-55 this condition always holds"],
    ),
    when("    from: [web, rpc]\n    when: caller.tier == \"edge\"\n", &[]),
    when(
        "    from: web\n    when: tls.version == tls.version\n",
        &["warning CW0307 15:11-37 this condition always holds"],
    ),
    when(
        "    from: web\n    when: tls.version == \"1.3\" || tls.version != \"1.3\"\n",
        &["warning CW0307 15:11-55 this condition always holds"],
    ),
    // An environment may be called as a label's value is.
    when("    from: web\n    when: caller.env == caller.tier\n", &[]),
    when(
        "    from: web\n    when: caller.env == \"d\" && callee.env == \"d\" && callee.env in [\"a\", \"b\", \"c\", \"d\"]\n",
        &[],
    ),
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    when: caller.env != callee.env\n",
        findings: &[],
    },
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    when: callee.tier == \"core\"\n",
        findings: &["warning CW0307 32:11-32 this condition never holds, so nobody is denied"],
    },
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    when: callee.tier == \"data\"\n",
        findings: &["warning CW0307 32:11-32 this condition always holds"],
    },
    // Strangers have neither labels nor variables, and are denied.
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    when: caller.tier == \"core\" && caller.tier == \"edge\"\n",
        findings: &[],
    },
    Case {
        from: "    except: [rpc]\n",
        to: "    except: [rpc]\n    when: caller.env == \"a\" && caller.env == \"b\"\n",
        findings: &[],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: web -> db\n    when: caller.env == \"a\" && caller.env == \"b\"\n",
        findings: &["warning CW0307 31:11-49 this condition never holds, so nobody is denied"],
    },
    Case {
        from: "    deny: any -> db\n    except: [rpc]\n",
        to: "    deny: \"[web, rpc] -> db\"\n    except: [rpc]\n    when: caller.tier == \"core\"\n",
        findings: &["warning CW0307 32:11-32 this condition never holds, so nobody is denied"],
    },
];
