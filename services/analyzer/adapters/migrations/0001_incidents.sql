-- Incidents, the evidence archived for each, and what the analyzer has read.

CREATE TABLE analyzer.incidents (
    incident_id   text PRIMARY KEY,
    component     text NOT NULL,
    components    text[] NOT NULL,
    status        text NOT NULL CHECK (status IN ('open', 'closed', 'merged')),
    merged_into   text,
    opened_at     timestamptz NOT NULL,
    began         timestamptz NOT NULL,
    outcome       text,
    -- Why it is still open, or why it was closed.
    reason        text NOT NULL DEFAULT 'opened',
    why           text NOT NULL DEFAULT '',
    executions    text[] NOT NULL,
    triggers      text[] NOT NULL,
    closed_at     timestamptz,
    -- The event that closed it, with its place: it names the frozen ranges of the log.
    closing       bytea,
    closing_offset bigint,
    report_sha256 text,
    report_dir    text,
    report_error  text,
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX incidents_unreported ON analyzer.incidents (incident_id)
    WHERE status = 'closed' AND report_sha256 IS NULL;

-- Every id that leads to an incident: its triggers, commands and executions.
CREATE TABLE analyzer.members (
    member_id   text PRIMARY KEY,
    incident_id text NOT NULL
);
CREATE INDEX members_of ON analyzer.members (incident_id);

-- The evidence, byte for byte: retention may delete the log, not this.
CREATE TABLE analyzer.archive (
    incident_id  text NOT NULL,
    topic        text NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    timestamp_ms bigint NOT NULL,
    key          bytea,
    value        bytea,
    -- Of an event: one that is sent twice is the same event.
    event_id     text,
    PRIMARY KEY (incident_id, topic, partition, "offset")
);

-- How far the metrics and logs of a component have been archived: [first, next_offset).
CREATE TABLE analyzer.archived (
    incident_id text NOT NULL,
    component   text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    first       bigint NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (incident_id, component, topic, partition)
);

-- Events that came after the close.
CREATE TABLE analyzer.addenda (
    incident_id text NOT NULL,
    event_id    text NOT NULL,
    type        text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (incident_id, event_id)
);

-- How far each topic has been read, written with the effects of each record.
CREATE TABLE analyzer.progress (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE analyzer.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   text NOT NULL UNIQUE,
    topic      text NOT NULL,
    key        text NOT NULL,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
CREATE INDEX outbox_unsent ON analyzer.outbox (id) WHERE sent_at IS NULL;

CREATE VIEW backout.incidents AS
SELECT i.incident_id, i.component, i.components, i.status, i.merged_into, i.opened_at, i.began, i.closed_at,
       i.outcome, i.reason, i.why, i.executions, i.triggers,
       i.report_sha256, i.report_dir, i.report_error,
       (SELECT count(*) FROM analyzer.addenda a WHERE a.incident_id = i.incident_id) AS addenda
FROM analyzer.incidents i;

CREATE VIEW backout.incident_addenda AS
SELECT incident_id, event_id, type, topic, partition, "offset", at FROM analyzer.addenda;
