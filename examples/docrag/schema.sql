-- The sample system's tables. Run at every start: each statement creates what is missing and leaves the rest alone.

CREATE SCHEMA IF NOT EXISTS docrag;

CREATE TABLE IF NOT EXISTS docrag.documents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL UNIQUE,
    sha256      text        NOT NULL,
    pages       integer     NOT NULL CHECK (pages > 0),
    library     text        NOT NULL,
    uploaded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS docrag.chunks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id bigint  NOT NULL REFERENCES docrag.documents (id) ON DELETE CASCADE,
    page        integer NOT NULL CHECK (page > 0),
    position    integer NOT NULL CHECK (position >= 0),
    content     text    NOT NULL,
    words       tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
    UNIQUE (document_id, page, position)
);

CREATE INDEX IF NOT EXISTS chunks_words ON docrag.chunks USING gin (words);

-- The configuration that was decided last, written before the configuration file is. `previous_checksum` is that of
-- the configuration before it: a file that carries it was overtaken by a crash and is brought up at the next start.
CREATE TABLE IF NOT EXISTS docrag.components (
    component         text        PRIMARY KEY,
    highest_epoch     bigint      NOT NULL CHECK (highest_epoch >= 0),
    config            text        NOT NULL,
    config_checksum   text        NOT NULL,
    previous_checksum text,
    updated_at        timestamptz NOT NULL DEFAULT now()
);

-- One row for each thing done under a key. `pending`: decided, but the configuration file may not show it yet.
CREATE TABLE IF NOT EXISTS docrag.effects (
    key             text        PRIMARY KEY,
    component       text        NOT NULL REFERENCES docrag.components (component),
    epoch           bigint,
    method          text        NOT NULL,
    path            text        NOT NULL,
    body            text        NOT NULL,
    fingerprint     text        NOT NULL,
    status          text        NOT NULL CHECK (status IN ('pending', 'applied')),
    answer          text        NOT NULL,
    times_requested integer     NOT NULL DEFAULT 1 CHECK (times_requested > 0),
    requested_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at      timestamptz,
    sequence        bigint GENERATED ALWAYS AS IDENTITY
);
