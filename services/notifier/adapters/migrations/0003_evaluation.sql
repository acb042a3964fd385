-- What is known of the monitor's partitions, and the outages that were announced: one document,
-- locked while it is decided upon.

CREATE TABLE notifier.evaluation (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    known      jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO notifier.evaluation (known) VALUES ('{"heard": {}, "outages": []}');
