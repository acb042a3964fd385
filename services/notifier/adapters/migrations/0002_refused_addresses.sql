-- A mail to several addresses may be taken for some and refused for others. Those who have it must
-- not get it again, whatever restarts between two attempts.

ALTER TABLE notifier.deliveries
    -- Who is still to be told; NULL is all of `addresses`.
    ADD COLUMN unserved text[],
    -- Whom the server refused for good, with its answers: {address: answer}.
    ADD COLUMN refused jsonb NOT NULL DEFAULT '{}';
