-- Everything cellwalld must not forget. Secrets are sealed; what gives authority is vouched for
-- with the sealing key, which is not in this file.

CREATE TABLE trust_domain (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    name    TEXT NOT NULL
) STRICT;

CREATE TABLE secrets (
    purpose TEXT PRIMARY KEY,
    sealed  BLOB NOT NULL
) STRICT;

CREATE TABLE authorities (
    id          INTEGER PRIMARY KEY,
    certificate BLOB NOT NULL
) STRICT;

CREATE TABLE policies (
    version    INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL,
    applied_by TEXT NOT NULL,
    message    TEXT NOT NULL,
    sources    TEXT NOT NULL,
    voucher    BLOB NOT NULL
) STRICT;

CREATE TABLE issuances (
    serial     TEXT PRIMARY KEY,
    spiffe_id  TEXT NOT NULL,
    key_sha256 BLOB NOT NULL UNIQUE,
    issued_at  INTEGER NOT NULL,
    not_after  INTEGER NOT NULL
) STRICT;
CREATE INDEX issuances_by_id ON issuances (spiffe_id, issued_at);

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    detail   TEXT NOT NULL,
    hash     BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
