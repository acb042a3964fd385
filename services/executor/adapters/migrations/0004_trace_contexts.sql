-- The trace that a trigger belongs to (W3C Trace Context), handed on to the events of what it leads to.
ALTER TABLE executor.triggers ADD COLUMN traceparent text;
ALTER TABLE executor.executions ADD COLUMN traceparent text;
