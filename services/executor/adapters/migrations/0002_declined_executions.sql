-- An accepted execution that was no longer wanted when it was about to begin: it ended, but it is
-- no end of a rollback, has no status, and nothing cools down after it.
ALTER TABLE executor.executions
    DROP CONSTRAINT executions_state_check,
    DROP CONSTRAINT executions_check1,
    ADD CONSTRAINT executions_state_check
        CHECK (state IN ('running', 'held', 'planned', 'ended', 'declined')),
    ADD CONSTRAINT executions_ended_at_check
        CHECK ((ended_at IS NOT NULL) = (state IN ('ended', 'planned', 'declined')));

-- Who was absorbed into an execution is asked before it is declined.
CREATE INDEX journal_absorbed ON executor.journal ((memory ->> 'into')) WHERE kind = 'absorbed';
CREATE INDEX triggers_settled ON executor.triggers (settled_by) WHERE settled_by IS NOT NULL;

-- How often: an execution after that has another id.
ALTER TABLE executor.triggers ADD COLUMN declined integer NOT NULL DEFAULT 0;
