-- The ledger, version 1. Times are microseconds since the Unix epoch; identifiers are hyphenated UUIDs.

CREATE TABLE decisions (
    id       TEXT PRIMARY KEY NOT NULL,
    server   TEXT NOT NULL,
    app      TEXT NOT NULL,
    name     TEXT NOT NULL,
    session  TEXT NOT NULL,
    verdict  TEXT NOT NULL,
    rule     TEXT NOT NULL,
    policy   TEXT NOT NULL,
    decided  INTEGER NOT NULL,
    evidence TEXT NOT NULL          -- a JSON array of findings
) STRICT;
CREATE INDEX decisions_by_time ON decisions (decided);

CREATE TABLE denies (
    id       INTEGER PRIMARY KEY,
    server   TEXT NOT NULL,
    app      TEXT NOT NULL,
    name     TEXT NOT NULL,
    decision TEXT NOT NULL REFERENCES decisions (id),
    since    INTEGER NOT NULL,
    until    INTEGER,               -- NULL: until somebody lifts it
    lifted   INTEGER                -- NULL: nobody has
) STRICT;
CREATE INDEX denies_in_force ON denies (server, app, name) WHERE lifted IS NULL;
CREATE INDEX denies_by_decision ON denies (decision);

CREATE TABLE actions (              -- the outbox
    id       TEXT PRIMARY KEY NOT NULL,
    decision TEXT NOT NULL REFERENCES decisions (id),
    kind     TEXT NOT NULL CHECK (kind IN ('kick', 'notify')),
    payload  TEXT NOT NULL,         -- the action as JSON
    state    TEXT NOT NULL CHECK (state IN ('pending', 'done', 'gave_up')),
    attempts INTEGER NOT NULL,      -- finished ones
    due      INTEGER NOT NULL
) STRICT;
CREATE INDEX actions_pending ON actions (kind, due) WHERE state = 'pending';
CREATE INDEX actions_by_decision ON actions (decision);

CREATE TABLE outcomes (
    id       INTEGER PRIMARY KEY,
    action   TEXT NOT NULL REFERENCES actions (id),
    attempt  INTEGER NOT NULL,      -- counts from 1
    began    INTEGER NOT NULL,
    ended    INTEGER NOT NULL,
    outcome  TEXT NOT NULL CHECK (outcome IN ('done', 'retry', 'gave_up')),
    detail   TEXT NOT NULL,
    due      INTEGER,               -- of a retry: when
    UNIQUE (action, attempt)
) STRICT;
