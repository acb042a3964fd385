-- The executor's own tables, and the views that the command line reads.

-- One row an execution: what was accepted, and where it stands. The journal is the truth; this
-- row is what has to be unique, found and claimed.
CREATE TABLE executor.executions (
    execution_id         text PRIMARY KEY,
    component            text NOT NULL,
    requested_by         text NOT NULL,
    asked_by             text NOT NULL CHECK (asked_by IN ('trigger', 'command', 'on_failure')),
    cause_id             text NOT NULL,
    incident_id          text NOT NULL,
    mode                 text NOT NULL CHECK (mode IN ('planned', 'emergency')),
    heeds_pause          boolean NOT NULL,
    reason               text NOT NULL,
    playbook             jsonb NOT NULL,
    plan_hash            text NOT NULL,
    state                text NOT NULL CHECK (state IN ('running', 'held', 'planned', 'ended')),
    status               text CHECK (status IN ('Success', 'PartialFailure', 'Failed', 'CriticalFailure')),
    last_sequence        integer NOT NULL DEFAULT 0,
    progress             integer NOT NULL DEFAULT 0,
    estimated_completion timestamptz,
    created_at           timestamptz NOT NULL,
    ended_at             timestamptz,
    CHECK ((status IS NOT NULL) = (state = 'ended')),
    CHECK ((ended_at IS NOT NULL) = (state IN ('ended', 'planned')))
);

-- One live execution a component.
CREATE UNIQUE INDEX one_live_execution ON executor.executions (component)
    WHERE state IN ('running', 'held');
CREATE INDEX executions_ended ON executor.executions (component, ended_at DESC) WHERE state = 'ended';

-- Every entry of every execution, and of every request that led to none (under the request's id).
-- `event` is what was announced, `memory` what only a resuming owner needs.
CREATE TABLE executor.journal (
    execution_id text NOT NULL,
    sequence     integer NOT NULL CHECK (sequence >= 1),
    component    text NOT NULL,
    kind         text NOT NULL,
    reason       text NOT NULL,
    why          text NOT NULL,
    step_id      text,
    attempt      integer,
    duration_s   double precision,
    epoch        bigint,
    at           timestamptz NOT NULL,
    event        jsonb NOT NULL,
    memory       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (execution_id, sequence),
    CHECK (kind NOT IN ('step_started', 'step_completed', 'step_failed', 'undo_started', 'step_undone')
           OR step_id IS NOT NULL)
);
CREATE INDEX journal_durations ON executor.journal (component, step_id)
    WHERE kind = 'step_completed' AND duration_s IS NOT NULL;

CREATE FUNCTION executor.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only';
END;
$$;
CREATE TRIGGER journal_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON executor.journal
    FOR EACH STATEMENT EXECUTE FUNCTION executor.refuse_change();

-- Who works on a component. The epoch only rises: it tells a former owner from the present one.
CREATE TABLE executor.leases (
    component  text PRIMARY KEY,
    owner      text NOT NULL,
    epoch      bigint NOT NULL CHECK (epoch >= 1),
    expires_at timestamptz NOT NULL
);

-- What is known of each trigger. `announced_at` is T of its newest fired or firing; a T that was
-- decided is not decided again; a reason that was announced is not announced again.
CREATE TABLE executor.triggers (
    trigger_id     text PRIMARY KEY,
    target         text NOT NULL,
    announced_at   timestamptz,
    over           text CHECK (over IN ('resolved', 'superseded')),
    over_at        timestamptz,
    event          jsonb,
    event_id       text,
    decided_at     timestamptz,
    settled_by     text,
    announced      text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX triggers_to_decide ON executor.triggers (trigger_id)
    WHERE settled_by IS NULL AND announced_at IS NOT NULL;

-- Whether rollbacks are paused, by whom and why. One row.
CREATE TABLE executor.control (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    paused     boolean NOT NULL DEFAULT false,
    reason     text NOT NULL DEFAULT '',
    changed_by text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO executor.control DEFAULT VALUES;

CREATE TABLE executor.inbox (
    event_id    text PRIMARY KEY,
    body_hash   bytea NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE executor.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   text NOT NULL UNIQUE,
    topic      text NOT NULL,
    key        text NOT NULL,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
CREATE INDEX outbox_unsent ON executor.outbox (id) WHERE sent_at IS NULL;

CREATE VIEW backout.executions AS
SELECT e.execution_id, e.component, e.requested_by, e.asked_by, e.incident_id, e.mode, e.reason,
       e.playbook ->> 'mode' AS playbook_mode, e.plan_hash, e.state, e.status, e.progress,
       e.estimated_completion, e.created_at, e.ended_at,
       l.owner, l.epoch, (l.expires_at > now()) AS owner_is_alive
FROM executor.executions e LEFT JOIN executor.leases l USING (component);

CREATE VIEW backout.journal AS
SELECT execution_id, sequence, component, kind, reason, why, step_id, attempt, duration_s, epoch, at, event
FROM executor.journal;

CREATE VIEW backout.control AS
SELECT paused, reason, changed_by, changed_at FROM executor.control;
