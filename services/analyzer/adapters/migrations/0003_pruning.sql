-- What is pruned is found by its age.
CREATE INDEX outbox_by_age ON analyzer.outbox (sent_at) WHERE sent_at IS NOT NULL;
