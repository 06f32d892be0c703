//! CW02xx: calls, listeners and conditions.

use super::CodePage;

pub(super) const PAGES: &[CodePage] = &[
    CodePage {
        code: "CW0201",
        title: "not a call",
        text: "A call is exactly one of `http: METHOD[,METHOD] /path/{id}`, `grpc: \
               pkg.Service/Method` (or `pkg.Service/*`) and `tcp: PORT`. In a path, `{name}` is \
               one whole segment and `{name...}`, last, is one or more; `{name%2F}` and \
               `{name%2F...}` take segments with an encoded slash, too. Templates are canonical: \
               no escapes of what may stand plain, no dot segments, no `;`. `/a/` is not `/a`, \
               but to a guard. A probe is one method and one path without parameters.",
        example: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: post /v1/payments}]
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
        code: "CW0202",
        title: "not a question",
        text: "A test, and `cellwall explain`, asks `ENV/CALLER -> ENV/CALLEE CALL`, where CALL \
               is `METHOD /path`, `GET+websocket /path` for one that asks to go on in another \
               protocol, `pkg.Service/Method` or `tcp:PORT`. A path with two readings never \
               reaches a rule: it is answered 400.",
        example: "tests:
  - {expect: deny, call: prod/checkout prod/payments GET /v1/payments}
",
        mended: "tests:
  - {expect: deny, call: prod/checkout -> prod/payments GET /v1/payments}
",
    },
    CodePage {
        code: "CW0203",
        title: "a call in another protocol, or to another port, than the callee listens",
        text: "Protocols are declared under `listens`, never guessed. A call that the callee can \
               never receive is a mistake in the rule, the role or the listener. Every callee of \
               a rule must be able to receive each of its calls; of a guard's callees at least \
               one.",
        example: "rules:
  - name: ledger-stores
    from: ledger
    to: ledger-db
    allow: [{http: GET /health}]
    why: the ledger keeps its data there
",
        mended: "rules:
  - name: ledger-stores
    from: ledger
    to: ledger-db
    allow: [{tcp: 5432}]
    why: the ledger keeps its data there
",
    },
    CodePage {
        code: "CW0204",
        title: "not a listener",
        text: "`listens` is `{http: PORT}`, `{http2: PORT}`, `{grpc: PORT}` or `{tcp: PORT}` with a \
               port from 1 to 65535, or a list of these, each port once.",
        example: "workloads:
  checkout: {listens: [{http: 8443}, {grpc: 8443}]}
segments:
  edge: {members: [checkout], mode: enforce}
",
        mended: "workloads:
  checkout: {listens: [{http: 8443}, {grpc: 9443}]}
segments:
  edge: {members: [checkout], mode: enforce}
",
    },
    CodePage {
        code: "CW0206",
        title: "not a condition",
        text: "`when` compares attributes with texts in quotes or with each other: `==`, `!=`, \
               `in [...]`, joined by `&&`, `||`, `!(...)` and parentheses. There are no numbers, \
               no patterns and no functions. Facts of the connection (`tls.*`) are compared with \
               texts only. A condition has at most 4,096 bytes, 1,024 parts and 32 levels.",
        example: "guards:
  - name: apart
    deny: any -> any
    when: caller.env is not callee.env
    why: prod and staging never mix
",
        mended: "guards:
  - name: apart
    deny: any -> any
    when: caller.env != callee.env
    why: prod and staging never mix
",
    },
    CodePage {
        code: "CW0207",
        title: "two templates match one path, and neither is more specific",
        text: "Of several templates that match a request and carry its method, the request \
               belongs to the most specific one: segment by segment a literal before `{name}` \
               before `{name...}`. `/a/{x}` and `/{y}/b` both match `/a/b` and have no such \
               order; `/v1/{id}` and `/v1/{token}` differ in nothing but a name; and `/a/{x}/` \
               beside `/a/b` would depend on whether the workload ignores a trailing slash. Make \
               one more specific, or write the same template in both rules.",
        example: "rules:
  - name: checkout-looks
    from: checkout
    to: payments
    allow:
      - http: GET /v1/{id}/status
      - http: GET /v1/refunds/{id}
    why: customers ask
",
        mended: "rules:
  - name: checkout-looks
    from: checkout
    to: payments
    allow:
      - http: GET /v1/payments/{id}/status
      - http: GET /v1/refunds/{id}
    why: customers ask
",
    },
    CodePage {
        code: "CW0208",
        title: "a call that cannot be declared idempotent in this way",
        text: "`idempotent` is a promise that a call made twice does no more than a call made \
               once: the caller's sidecar may then send it again when it broke on its way. \
               `method` promises it for `GET`, `HEAD`, `OPTIONS`, `PUT` and `DELETE` (RFC 9110), \
               and for no other method. `{header: Idempotency-Key}` promises that the callee \
               looks a key up before it acts, with any method and over gRPC. Of a TCP connection \
               nothing is ever sent again.",
        example: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments, idempotent: method}]
    why: customers pay
",
        mended: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments, idempotent: {header: Idempotency-Key}}]
    why: customers pay
",
    },
    CodePage {
        code: "CW0209",
        title: "a call that is idempotent in one statement and not so in another",
        text: "Whether a call may be made twice is a matter of the callee, not of who calls. All \
               rules, roles and grants about one callee have to say the same of one method and \
               template, or of one gRPC method.",
        example: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments, idempotent: {header: Idempotency-Key}}]
    why: customers pay
  - name: ledger-refunds
    from: ledger
    to: payments
    allow: [{http: POST /v1/payments}]
    why: customers are paid back
",
        mended: "rules:
  - name: checkout-pays
    from: checkout
    to: payments
    allow: [{http: POST /v1/payments, idempotent: {header: Idempotency-Key}}]
    why: customers pay
  - name: ledger-refunds
    from: ledger
    to: payments
    allow: [{http: POST /v1/payments, idempotent: {header: Idempotency-Key}}]
    why: customers are paid back
",
    },
    CodePage {
        code: "CW0210",
        title: "an upgrade that cannot be",
        text: "`upgrade` says what the requests of a call may ask to go on in: `websocket`, or a \
               list. Only a GET can ask, over HTTP/1.1, so the call needs `http` with GET, and \
               its callee a listener `http`. From 101 on nobody reads what is said, so a \
               protocol that would hide calls or connections from the policy cannot be named: no \
               HTTP (`h2c`, `spdy`), no TLS (`dtls`, `quic`), nothing that begins with `connect` \
               (`connect-udp`). A guard has no `upgrade`: it denies the request.",
        example: "rules:
  - name: checkout-listens
    from: checkout
    to: payments
    allow: [{http: GET /v1/feed, upgrade: h2c}]
    why: customers see what happens
",
        mended: "rules:
  - name: checkout-listens
    from: checkout
    to: payments
    allow: [{http: GET /v1/feed, upgrade: websocket}]
    why: customers see what happens
",
    },
];
