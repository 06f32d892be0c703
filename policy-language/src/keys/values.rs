//! The values: names, selectors, calls, times.

use super::{Bond, Form, Key, Mapping, Need};

pub(super) const NAME_PATTERN: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

pub(super) const NAME: Form = Form::Text { pattern: NAME_PATTERN, example: "checkout" };
pub(super) const GRANT_NAME: Form =
    Form::Text { pattern: "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", example: "INC-4821" };
pub(super) const NAMES: Form = Form::List { of: &NAME, least: 0 };
pub(super) const SOME_NAMES: Form = Form::List { of: &NAME, least: 1 };

/// A line of words that are not blank.
pub(super) const REASON: Form = Form::Text { pattern: "\\S", example: "customers pay" };
pub(super) const OWNER: Form = Form::Text { pattern: "\\S", example: "team-payments" };
/// A group, or a person.
const HOLDER: Form = Form::Text { pattern: "^\\S+$", example: "group/platform" };
pub(super) const HOLDERS: Form = Form::List { of: &HOLDER, least: 0 };
pub(super) const SOME_HOLDERS: Form = Form::List { of: &HOLDER, least: 1 };
const PERSON: Form = Form::Text { pattern: "^[^@\\s]+@[^@\\s]+$", example: "alice@pay.example" };
pub(super) const APPROVERS: Form = Form::List { of: &PERSON, least: 2 };

pub(super) const DATE: Form =
    Form::Text { pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example: "2026-09-01" };
pub(super) const INSTANT: Form = Form::Text {
    pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
    example: "2026-03-02T14:00:00Z",
};
pub(super) const DURATION: Form = Form::Text { pattern: "^([0-9]+ *[a-z]+ *)+$", example: "8h" };

pub(super) const CONDITION: Form =
    Form::Text { pattern: "\\S", example: "caller.env == callee.env && tls.version == \"1.3\"" };

const WHO: Form = Form::Text {
    pattern: "^(any|(segment/)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|spiffe://[^/]+/.+)$",
    example: "segment/core",
};
const LABELS: Form = Form::Named { pattern: NAME_PATTERN, of: &NAME };

/// `NAME`, `[A, B]`, `segment/NAME`, `{label: value}`, `any`, a federated ID.
pub(super) const SELECTOR: Form = Form::Any(&[WHO, Form::List { of: &WHO, least: 1 }, LABELS]);
pub(super) const LABEL_VALUES: Form = LABELS;
pub(super) const ARROW: Form = Form::Text { pattern: "^.+->.+$", example: "any -> card-vault" };

const PORT: Form = Form::Number { least: 1, most: 65_535 };

const LISTENER: Mapping = Mapping {
    name: "listener",
    about: "The protocol and the port. Protocols are declared, never guessed.",
    keys: &[
        Key {
            name: "http",
            about: "HTTP; the workload speaks HTTP/1.1.",
            form: &PORT,
            need: Need::Optional,
        },
        Key {
            name: "http2",
            about: "HTTP; the workload speaks HTTP/2 without TLS, and is not asked for anything else.",
            form: &PORT,
            need: Need::Optional,
        },
        Key { name: "grpc", about: "gRPC.", form: &PORT, need: Need::Optional },
        Key { name: "tcp", about: "Any other bytes.", form: &PORT, need: Need::Optional },
    ],
    bond: Bond::One,
};
pub(super) const LISTENS: Form =
    Form::Any(&[Form::Mapping(&LISTENER), Form::List { of: &Form::Mapping(&LISTENER), least: 1 }]);

pub(super) const IDENTITY_HEADERS: Form =
    Form::List { of: &Form::Words(&["x-spiffe-id", "x-forwarded-client-cert"]), least: 1 };

const HTTP: Key = Key {
    name: "http",
    about: "`METHOD[,METHOD] /path/{id}`: `{name}` is one whole segment, `{name...}`, last, takes one \
            or more.",
    form: &Form::Text {
        pattern: "^\\s*[A-Z][A-Z-]*(,[A-Z][A-Z-]*)*\\s+/\\S*\\s*$",
        example: "POST /v1/payments/{id}/capture",
    },
    need: Need::Optional,
};
const GRPC: Key = Key {
    name: "grpc",
    about: "`pkg.Service/Method`, or `pkg.Service/*`: the service's methods that no other call of \
            this callee names.",
    form: &Form::Text {
        pattern: "^[A-Za-z_][A-Za-z0-9_.]*/([A-Za-z_][A-Za-z0-9_]*|\\*)$",
        example: "ledger.v1.Ledger/Post",
    },
    need: Need::Optional,
};
const TCP: Key = Key {
    name: "tcp",
    about: "Connections to the declared port.",
    form: &PORT,
    need: Need::Optional,
};

const KEYED: Mapping = Mapping {
    name: "key",
    about: "The header whose one value the callee looks up before it acts.",
    keys: &[Key {
        name: "header",
        about: "`Idempotency-Key`.",
        form: &Form::Words(&["Idempotency-Key"]),
        need: Need::Required,
    }],
    bond: Bond::None,
};
const IDEMPOTENT: Key = Key {
    name: "idempotent",
    about: "A call made twice does no more than a call made once: it may be sent again when it broke \
            on its way. By its `method`, or by the one `Idempotency-Key` of a request.",
    form: &Form::Any(&[Form::Words(&["method"]), Form::Mapping(&KEYED)]),
    need: Need::Optional,
};

const TOKEN: Form = Form::Text { pattern: "^[a-z][a-z0-9._-]{0,31}$", example: "websocket" };
const UPGRADE: Key = Key {
    name: "upgrade",
    about: "What a GET may ask to go on in: `websocket`, or a list. Everywhere else it is an ordinary \
            request.",
    form: &Form::Any(&[TOKEN, Form::List { of: &TOKEN, least: 1 }]),
    need: Need::Optional,
};

const PROTOCOLS: Bond = Bond::OneOf(&["http", "grpc", "tcp"]);

const CALL: Mapping = Mapping {
    name: "call",
    about: "What may be called: exactly one of `http`, `grpc` and `tcp`.",
    keys: &[HTTP, GRPC, TCP, UPGRADE, IDEMPOTENT],
    bond: PROTOCOLS,
};
pub(super) const CALLS: Form = Form::List { of: &Form::Mapping(&CALL), least: 1 };

const GUARD_CALL: Mapping = Mapping {
    name: "call",
    about: "What is kept out: exactly one of `http`, `grpc` and `tcp`.",
    keys: &[HTTP, GRPC, TCP],
    bond: PROTOCOLS,
};
pub(super) const GUARD_CALLS: Form = Form::List { of: &Form::Mapping(&GUARD_CALL), least: 1 };
