-- The ledger, version 2: a decision says which bank capped it, and an action may stand without a decision.

ALTER TABLE decisions ADD COLUMN capped_by TEXT; -- NULL: none did

CREATE TABLE new_actions (
    id       TEXT PRIMARY KEY NOT NULL,
    decision TEXT REFERENCES decisions (id), -- NULL: nobody was judged, somebody is told all the same
    kind     TEXT NOT NULL CHECK (kind IN ('kick', 'notify')),
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
