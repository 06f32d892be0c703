//! CW02xx: calls, listeners, questions.

use super::Case;

pub(super) const CASES: &[Case] = &[
    Case {
        from: "{http: 8443}",
        to: "{http: 0}",
        findings: &["CW0204 4:25-26 a port is a number from 1 to 65535"],
    },
    Case {
        from: "{http: 8443}",
        to: "{http: 70000}",
        findings: &["CW0204 4:25-30 a port is a number from 1 to 65535"],
    },
    Case {
        from: "{http: 8443}",
        to: "{http: web}",
        findings: &["CW0204 4:25-28 a port is a number from 1 to 65535"],
    },
    Case {
        from: "{http: 8443}",
        to: "{http: 1, grpc: 2}",
        findings: &[
            "CW0204 4:19-23 a listener has exactly one of `http`, `http2`, `grpc` and `tcp`",
        ],
    },
    Case { from: "{http: 8443}", to: "[{http: 1}, {tcp: 2}, {http: 3}]", findings: &[] },
    Case {
        from: "{tcp: 5432}]",
        to: "{tcp: 5433}]",
        findings: &["CW0203 20:19-23 port 5433 is not the declared port"],
    },
    Case {
        from: "{tcp: 5432}]",
        to: "{http: GET /a}]",
        findings: &["CW0203 20:20-26 `http` call on a `tcp` port"],
    },
    Case {
        from: "{tcp: 5432}]",
        to: "{tcp: 5432, http: GET /a}]",
        findings: &["CW0201 20:14-17 a call has exactly one of `http`, `grpc` and `tcp`"],
    },
    Case { from: "{tcp: 5432}]", to: "{tcp: 0}]", findings: &["CW0201 20:19-20 0 is not a port"] },
    Case {
        from: "{grpc: a.v1.A/Get}",
        to: "{http: GET /a}",
        findings: &["CW0203 11:34-40 `http` call on a `grpc` port"],
    },
    Case {
        from: "{grpc: a.v1.A/Get}",
        to: "{grpc: a.v1.A}",
        findings: &["CW0201 11:34-40 `a.v1.A` is not `pkg.Service/Method`"],
    },
    Case {
        from: "[{grpc: a.v1.A/Get}]",
        to: "[{grpc: a.v1.A/Get}, {grpc: a.v1.A/Get.x}, {grpc: a.v1.A/Ge-t}, {grpc: a..A/Get}, {grpc: a..A/*}]",
        findings: &[
            "CW0201 11:54-66 `a.v1.A/Get.x` is not `pkg.Service/Method`",
            "CW0201 11:76-87 `a.v1.A/Ge-t` is not `pkg.Service/Method`",
            "CW0201 11:97-105 `a..A/Get` is not `pkg.Service/Method`",
            "CW0201 11:115-121 `a..A/*` is not `pkg.Service/Method`",
        ],
    },
    Case {
        from: "GET /v1/things/{id}",
        to: "get /v1/things/{id}",
        findings: &["CW0201 26:15-34 `get` is not a method that a call may name"],
    },
    Case {
        from: "GET /v1/things/{id}",
        to: "GET v1/things",
        findings: &["CW0201 26:15-28 not a path template: a path template begins with `/`"],
    },
    Case {
        from: "GET /v1/things/{id}",
        to: "GET /v1//things",
        findings: &["CW0201 26:15-30 not a path template: a path template has no empty segment"],
    },
    Case {
        from: "GET /v1/things/{id}",
        to: "GET",
        findings: &["CW0201 26:15-18 `GET` is not `METHOD /path`"],
    },
    Case {
        from: "GET /v1/things/{id}\n",
        to: "GET /v1/things/{id}\n      - http: GET,PUT /v1/things/{name}\n",
        findings: &[
            "CW0207 27:15-40 `/v1/things/{id}` and `/v1/things/{name}` both match some path of `web`",
        ],
    },
    Case {
        from: "GET /v1/things/{id}\n",
        to: "GET /v1/{a}/x\n      - http: GET /v1/y/{b}\n",
        findings: &["CW0207 27:15-28 `/v1/{a}/x` and `/v1/y/{b}` both match some path of `web`"],
    },
    Case {
        from: "GET /v1/things/{id}\n",
        to: "GET /v1/x\n      - http: GET /v1/x/\n",
        findings: &["CW0207 27:15-25 `/v1/x` and `/v1/x/` both match some path of `web`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web prod/rpc a.v1.A/Get",
        findings: &["CW0202 34:27-55 expected `ENV/A -> ENV/B CALL`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web -> prod/rpc GET /a/../b",
        findings: &["CW0202 34:52-59 answered 400 before any rule: the path has a dot segment"],
    },
    Case {
        from: "GET /v1/things/{id}",
        to: "GET /v1/things/{id%2f}",
        findings: &[
            "CW0201 26:15-37 not a path template: `{id%2f}` is neither a literal segment nor `{name}`",
        ],
    },
    Case {
        from: "GET /v1/things/{id}\n",
        to: "GET /v1/things/{id}\n      - http: GET /v1/things/{id%2F}\n",
        findings: &[
            "CW0207 27:15-37 `/v1/things/{id}` and `/v1/things/{id%2F}` both match some path of `web`",
        ],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get, by: web-reads",
        to: "prod/rpc -> prod/web GET /v1/things/a%2Fb, by: all-look",
        findings: &[
            "CW0202 34:48-68 answered 400 before any rule: the path encodes a byte that servers read \
             differently",
        ],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web -> prod/rpc GET /v1/things/a%2F..",
        findings: &["CW0202 34:52-69 answered 400 before any rule: the path has a dot segment"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web -> prod/rpc get /a",
        findings: &["CW0202 34:48-51 `get` is not a method"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web -> prod/rpc Get",
        findings: &["CW0202 34:48-51 expected `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web -> prod/rpc a.v1.A/Get.x",
        findings: &["CW0202 34:48-60 expected `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web -> prod/rpc a.v1.A/Ge-t",
        findings: &["CW0202 34:48-59 expected `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "prod/web -> prod/rpc a..A/Get",
        findings: &["CW0202 34:48-56 expected `METHOD /path`, `pkg.Service/Method` or `tcp:PORT`"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "\"prod/rpc -> prod/db tcp:0\"",
        findings: &["CW0202 34:48-53 not a port"],
    },
    Case {
        from: "prod/web -> prod/rpc a.v1.A/Get",
        to: "\"prod/rpc -> prod/db tcp:1\"",
        findings: &["CW0203 34:48-53 port 1 is not the declared port"],
    },
    Case {
        from: "can: [{grpc: a.v1.A/Get}]",
        to: "can: [{grpc: a.v1.A/Get, idempotent: {header: Idempotency-Key}}]",
        findings: &[],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, idempotent: method}",
        findings: &[],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: \"GET,HEAD,OPTIONS,PUT,DELETE /v1/things\", idempotent: method}",
        findings: &[],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: \"PUT,POST /v1/things\", idempotent: method}",
        findings: &["CW0208 26:51-57 `POST` is not an idempotent method"],
    },
    Case {
        from: "can: [{grpc: a.v1.A/Get}]",
        to: "can: [{grpc: a.v1.A/Get, idempotent: method}]",
        findings: &["CW0208 11:58-64 gRPC has one method, and it is `POST`"],
    },
    Case {
        from: "{tcp: 5432}]",
        to: "{tcp: 5432, idempotent: {header: Idempotency-Key}}]",
        findings: &["CW0208 20:37-38 bytes are not sent again"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, idempotent: always}",
        findings: &[
            "CW0004 26:44-50 expected `method` or `{header: Idempotency-Key}`, found a text",
        ],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, idempotent: {header: X-Key}}",
        findings: &["CW0004 26:53-58 expected `Idempotency-Key`, found a text"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, idempotent: {}}",
        findings: &["CW0007 26:44-45 `idempotent` needs `header`"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{idempotent: method}",
        findings: &["CW0201 26:10-20 a call has exactly one of `http`, `grpc` and `tcp`"],
    },
    Case {
        from: "    except: [rpc]",
        to: "    calls: [{tcp: 5432, idempotent: method}]\n    except: [rpc]",
        findings: &["CW0009 31:25-35 `idempotent` does not stand in a call"],
    },
    Case {
        from: "      - http: GET /v1/things/{id}",
        to: "      - http: GET /v1/things/{id}\n      - {http: \"HEAD,GET /v1/things/{id}\", idempotent: method}",
        findings: &["CW0209 27:16-42 `GET /v1/things/{id}` is declared in two ways"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, upgrade: websocket}",
        findings: &[],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: \"POST,GET /v1/things\", upgrade: [websocket, x.chat], idempotent: {header: Idempotency-Key}}",
        findings: &[],
    },
    Case {
        from: "web: {listens: {http: 8443}",
        to: "web: {listens: [{http2: 8443}, {http2: 8443}]",
        findings: &["CW0204 4:35-46 port 8443 stands twice"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: POST /v1/things, upgrade: websocket}",
        findings: &["CW0210 26:33-40 `upgrade` without GET"],
    },
    Case {
        from: "can: [{grpc: a.v1.A/Get}]",
        to: "can: [{grpc: a.v1.A/Get, upgrade: websocket}]",
        findings: &["CW0210 11:46-53 `upgrade` of a call that is not `http`"],
    },
    Case {
        from: "{tcp: 5432}]",
        to: "{tcp: 5432, upgrade: websocket}]",
        findings: &["CW0210 20:25-32 `upgrade` of a call that is not `http`"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, upgrade: h2c}",
        findings: &["CW0210 26:41-44 `h2c` is nothing that a call may go on in"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, upgrade: [HTTP/2.0, TLS/1.3, WebSocket, \"a,b\"]}",
        findings: &[
            "CW0210 26:42-50 `HTTP/2.0` is nothing that a call may go on in",
            "CW0210 26:52-59 `TLS/1.3` is nothing that a call may go on in",
            "CW0210 26:61-70 `WebSocket` is nothing that a call may go on in",
            "CW0210 26:72-77 `a,b` is nothing that a call may go on in",
        ],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, upgrade: [a, a]}",
        findings: &["CW0210 26:45-46 `a` stands twice"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET /v1/things, upgrade: []}",
        findings: &["CW0210 26:41-42 `upgrade` that names no protocol"],
    },
    Case {
        from: "http: GET /v1/things/{id}",
        to: "{http: GET+websocket /v1/things}",
        findings: &["CW0201 26:16-40 `GET+websocket` is not a method that a call may name"],
    },
    Case {
        from: "    except: [rpc]",
        to: "    calls: [{tcp: 5432, upgrade: websocket}]\n    except: [rpc]",
        findings: &["CW0009 31:25-32 `upgrade` does not stand in a call"],
    },
    Case {
        from: "web: {listens: {http: 8443}",
        to: "web: {listens: [{http2: 8443}, {tcp: 1}]",
        findings: &[],
    },
];
