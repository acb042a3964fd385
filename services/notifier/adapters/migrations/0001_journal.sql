-- The notifier's own tables: its inbox and outbox, the journal of deliveries, and what each
-- lane's remote object is.

CREATE TABLE notifier.inbox (
    event_id    text PRIMARY KEY,
    body_hash   bytea NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE notifier.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   text NOT NULL UNIQUE,
    topic      text NOT NULL,
    key        text NOT NULL,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
CREATE INDEX outbox_unsent ON notifier.outbox (id) WHERE sent_at IS NULL;

CREATE TABLE notifier.deliveries (
    delivery_id     text PRIMARY KEY,
    position        bigint GENERATED ALWAYS AS IDENTITY,
    incident_id     text NOT NULL,
    execution_id    text NOT NULL,
    component       text NOT NULL,
    event_id        text NOT NULL,
    receiver        text NOT NULL,
    tier            text NOT NULL,
    channel         text NOT NULL,
    addresses       text[] NOT NULL,
    lane            text NOT NULL,
    about           text NOT NULL,
    template        text NOT NULL,
    message         jsonb NOT NULL,
    caused_at       timestamptz NOT NULL,
    due             timestamptz NOT NULL,
    state           text NOT NULL CHECK (
        state IN ('pending', 'in_doubt', 'delivered', 'failed', 'not_configured', 'superseded')
    ),
    -- Requests that were sent, and tries (requests and questions) that failed.
    attempts        integer NOT NULL DEFAULT 0,
    failures        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at         timestamptz,
    claimed_by      text,
    claimed_until   timestamptz,
    remote_id       text,
    reason          text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at      timestamptz,
    CHECK ((settled_at IS NULL) = (state IN ('pending', 'in_doubt'))),
    CHECK (state <> 'in_doubt' OR sent_at IS NOT NULL)
);
CREATE INDEX deliveries_open ON notifier.deliveries (receiver, position)
    WHERE state IN ('pending', 'in_doubt');
CREATE INDEX deliveries_lane ON notifier.deliveries (lane, position);

CREATE TABLE notifier.lanes (
    lane       text PRIMARY KEY,
    remote_id  text NOT NULL,
    place      text NOT NULL,
    -- The event that the remote object shows now.
    event_id   text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What people and the CLI read. The edits between an announcement and the next are left out.
CREATE VIEW backout.deliveries AS
SELECT delivery_id, incident_id, execution_id, component, receiver, tier, channel,
       array_to_string(addresses, ', ') AS address, about, template, state AS status, attempts,
       caused_at, due, sent_at, settled_at, remote_id, reason
FROM notifier.deliveries
WHERE about <> 'progress' AND state <> 'superseded'
ORDER BY position;
