-- Who writes: an analyzer takes over when the group has given it the topics, and writes in its own epoch only.
CREATE TABLE analyzer.owner (
    only_one bool PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch    bigint NOT NULL DEFAULT 0,
    holder   text NOT NULL DEFAULT '',
    since    timestamptz NOT NULL DEFAULT now()
);
INSERT INTO analyzer.owner DEFAULT VALUES;
