-- The ledger, version 3: who decided, how and until when; whom a deny refuses; what a decision can be replayed from; and
-- what people reported.

ALTER TABLE decisions ADD COLUMN until INTEGER;                                -- NULL: until somebody releases it
ALTER TABLE decisions ADD COLUMN actor TEXT NOT NULL DEFAULT '{"kind":"policy"}'; -- who decided, as JSON
ALTER TABLE decisions ADD COLUMN mode TEXT NOT NULL DEFAULT 'enforced' CHECK (mode IN ('enforced', 'shadow'));
ALTER TABLE decisions ADD COLUMN lowered TEXT;                                 -- as JSON; NULL: it is as severe as its rule
ALTER TABLE decisions ADD COLUMN before TEXT NOT NULL DEFAULT 'clear';         -- what the session had reached
ALTER TABLE decisions ADD COLUMN context TEXT NOT NULL DEFAULT '{}';           -- what was known beside the findings, as JSON
ALTER TABLE decisions ADD COLUMN known_as TEXT NOT NULL DEFAULT '[]';          -- by which keys and accounts the publisher is known, as JSON
ALTER TABLE decisions ADD COLUMN ended INTEGER;                                -- NULL: nobody released it, and it was not told that it ended
ALTER TABLE decisions ADD COLUMN ending TEXT;                                  -- how it ended, as JSON
CREATE INDEX decisions_of_session ON decisions (server, app, name, session);
CREATE INDEX decisions_to_end ON decisions (until) WHERE ended IS NULL AND until IS NOT NULL;

ALTER TABLE denies ADD COLUMN target TEXT NOT NULL DEFAULT 'name' CHECK (target IN ('name', 'key', 'account', 'address'));
ALTER TABLE denies ADD COLUMN value TEXT;                                      -- NULL: of the stream's name

CREATE TABLE timelines (            -- all that the judge held of the session, in the order in which it was heard
    decision TEXT PRIMARY KEY NOT NULL REFERENCES decisions (id),
    findings TEXT NOT NULL          -- a JSON array
) STRICT;

CREATE TABLE policies (             -- the policies that decisions name by their digest
    digest   TEXT PRIMARY KEY NOT NULL,
    text     TEXT NOT NULL,
    since    INTEGER NOT NULL       -- when it was first in force
) STRICT;

CREATE TABLE kept (                 -- what is to be known again after a restart, by name
    name     TEXT PRIMARY KEY NOT NULL,
    value    TEXT NOT NULL
) STRICT;

CREATE TABLE reports (
    id       TEXT PRIMARY KEY NOT NULL,
    server   TEXT NOT NULL,
    app      TEXT NOT NULL,
    name     TEXT NOT NULL,
    session  TEXT,                  -- the session on the air when it came in; NULL: none was
    reporter TEXT NOT NULL,         -- a keyed digest
    category TEXT NOT NULL,
    imminent INTEGER NOT NULL CHECK (imminent IN (0, 1)),
    notice   TEXT NOT NULL,         -- what was sent, as JSON
    received INTEGER NOT NULL,
    outcome  TEXT CHECK (outcome IN ('founded', 'unfounded')), -- NULL: nobody has looked yet
    judged   INTEGER                -- when somebody did
) STRICT;
CREATE INDEX reports_by_time ON reports (received);
CREATE INDEX reports_by_reporter ON reports (reporter, received);
CREATE INDEX reports_by_stream ON reports (server, app, name, received);

-- The kinds of actions are the program's to know.
CREATE TABLE new_actions (
    id       TEXT PRIMARY KEY NOT NULL,
    decision TEXT REFERENCES decisions (id), -- NULL: nobody was judged, somebody is told all the same
    kind     TEXT NOT NULL,
    payload  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('pending', 'done', 'gave_up')),
    attempts INTEGER NOT NULL,
    due      INTEGER NOT NULL
) STRICT;
INSERT INTO new_actions (rowid, id, decision, kind, payload, state, attempts, due)
    SELECT rowid, id, decision, kind, payload, state, attempts, due FROM actions;

CREATE TABLE new_outcomes (
    id       INTEGER PRIMARY KEY,
    action   TEXT NOT NULL REFERENCES new_actions (id),
    attempt  INTEGER NOT NULL,
    began    INTEGER NOT NULL,
    ended    INTEGER NOT NULL,
    outcome  TEXT NOT NULL CHECK (outcome IN ('done', 'retry', 'gave_up')),
    detail   TEXT NOT NULL,
    due      INTEGER,
    UNIQUE (action, attempt)
) STRICT;
INSERT INTO new_outcomes SELECT id, action, attempt, began, ended, outcome, detail, due FROM outcomes;

DROP TABLE outcomes;
DROP TABLE actions;
ALTER TABLE new_actions RENAME TO actions;
ALTER TABLE new_outcomes RENAME TO outcomes;
CREATE INDEX actions_pending ON actions (kind, due) WHERE state = 'pending';
CREATE INDEX actions_by_decision ON actions (decision);
