-- What is pruned is found by its age.
CREATE INDEX inbox_by_age ON notifier.inbox (topic, partition, received_at) INCLUDE ("offset");
CREATE INDEX outbox_by_age ON notifier.outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX deliveries_by_age ON notifier.deliveries (settled_at, position) WHERE settled_at IS NOT NULL;
CREATE INDEX deliveries_incident ON notifier.deliveries (incident_id);
