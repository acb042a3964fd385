-- What is pruned is found by its age.
CREATE INDEX inbox_by_age ON executor.inbox (topic, partition, received_at) INCLUDE ("offset");
CREATE INDEX outbox_by_age ON executor.outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX triggers_by_age ON executor.triggers (greatest(announced_at, over_at));
