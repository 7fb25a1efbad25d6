
-- Events that were given up, and receivers that want no more.

CREATE INDEX actions_given_up ON actions (kind) WHERE state = 'gave_up';

CREATE TABLE receivers_gone (
    webhook  TEXT PRIMARY KEY NOT NULL, -- its name in the configuration
    receiver TEXT NOT NULL,             -- SHA-256 of the address: under another, it is another receiver
    since    INTEGER NOT NULL
) STRICT;
