-- What sidecars reported. It tells what happened and gives authority to nobody, so nothing here is
-- vouched for, and the oldest goes when there is too much.

CREATE TABLE decisions (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    callee      TEXT NOT NULL,
    instance    TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    document    TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_by_callee ON decisions (callee, number);

CREATE TABLE edges (
    callee     TEXT NOT NULL,
    day        INTEGER NOT NULL,
    caller     TEXT NOT NULL,
    call       TEXT NOT NULL,
    verdict    TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    version    INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    PRIMARY KEY (callee, day, caller, call, verdict, decided_by)
) STRICT, WITHOUT ROWID;

CREATE TABLE reporters (
    callee   TEXT NOT NULL,
    instance TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    dropped  INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL,
    PRIMARY KEY (callee, instance)
) STRICT, WITHOUT ROWID;
