"""All the SQL of the executor.

Every statement that writes to the journal or to an execution runs in a transaction that has
locked the component's lease (CHECK_LEASE) or, before there is one, taken the event that asks for
it (the inbox). Times of leases are the database's own: the clocks of executors need not agree.
"""

from __future__ import annotations

# --- leases ---

# $1 component, $2 owner, $3 seconds. A row comes back only if the lease was free.
TAKE_LEASE = """
INSERT INTO executor.leases AS l (component, owner, epoch, expires_at)
VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (component) DO UPDATE
SET owner = $2, epoch = l.epoch + 1, expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE l.expires_at <= clock_timestamp()
RETURNING epoch
"""

# $1 component, $2 owner, $3 epoch, $4 seconds. No row: somebody else has taken over.
RENEW_LEASE = """
UPDATE executor.leases SET expires_at = clock_timestamp() + make_interval(secs => $4)
WHERE component = $1 AND owner = $2 AND epoch = $3
RETURNING epoch
"""

RELEASE_LEASE = """
UPDATE executor.leases SET expires_at = '-infinity'
WHERE component = $1 AND owner = $2 AND epoch = $3
"""

# Held until the end of the transaction, so that nobody takes over in the middle of a write.
CHECK_LEASE = """
SELECT epoch FROM executor.leases
WHERE component = $1 AND owner = $2 AND epoch = $3
FOR UPDATE
"""

# Live executions that nobody works on. $1: whether the triggers were read to their end; before that
# nobody can say whether what a trigger asked for is still wanted.
ORPHANS = """
SELECT e.execution_id FROM executor.executions e LEFT JOIN executor.leases l USING (component)
WHERE e.state IN ('running', 'held') AND (l.component IS NULL OR l.expires_at <= clock_timestamp())
  AND ($1 OR e.asked_by <> 'trigger'
       OR EXISTS (SELECT 1 FROM executor.journal j
                  WHERE j.execution_id = e.execution_id AND j.kind = 'step_started'))
ORDER BY e.created_at
"""

# --- executions and their journal ---

# No row: the component has a live execution already, or this execution is there.
INSERT_EXECUTION = """
INSERT INTO executor.executions (execution_id, component, requested_by, asked_by, cause_id, incident_id,
    mode, heeds_pause, reason, playbook, plan_hash, state, created_at, ended_at, traceparent)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15)
ON CONFLICT DO NOTHING
RETURNING execution_id
"""

READ_EXECUTION = """
SELECT execution_id, component, requested_by, asked_by, cause_id, incident_id, mode, heeds_pause, reason,
       playbook::text AS playbook, plan_hash, state, last_sequence, traceparent
FROM executor.executions WHERE execution_id = $1
"""

PLAYBOOK_OF = "SELECT playbook::text FROM executor.executions WHERE execution_id = $1"

COMPONENT_OF = "SELECT component FROM executor.executions WHERE execution_id = $1"

READ_LIVE = """
SELECT execution_id, incident_id FROM executor.executions
WHERE component = $1 AND state IN ('running', 'held')
"""

# Locked against its end, so that nothing is absorbed into what has just ended.
LOCK_LIVE = READ_LIVE + "FOR UPDATE"

LOCK_EXECUTION = "SELECT 1 FROM executor.executions WHERE execution_id = $1 FOR UPDATE"

# Whether the execution was also asked for by something that does not go stale.
COMMAND_ABSORBED = """
SELECT EXISTS (SELECT 1 FROM executor.journal
               WHERE kind = 'absorbed' AND memory ->> 'into' = $1 AND memory ->> 'asked_by' <> 'trigger')
"""

LAST_ENDED = "SELECT max(ended_at) FROM executor.executions WHERE component = $1 AND state = 'ended'"

UPDATE_EXECUTION = """
UPDATE executor.executions
SET last_sequence = $2, state = $3, status = $4, progress = $5, estimated_completion = $6, ended_at = $7
WHERE execution_id = $1
"""

IGNORE_PAUSE = "UPDATE executor.executions SET heeds_pause = false WHERE execution_id = $1"

READ_JOURNAL = """
SELECT sequence, kind, reason, why, step_id, attempt, epoch, at, memory::text AS memory
FROM executor.journal WHERE execution_id = $1 ORDER BY sequence
"""

NEXT_SEQUENCE = "SELECT coalesce(max(sequence), 0) + 1 FROM executor.journal WHERE execution_id = $1"

APPEND_JOURNAL = """
INSERT INTO executor.journal (execution_id, sequence, component, kind, reason, why, step_id, attempt,
    duration_s, epoch, at, event, memory)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb, $13::jsonb)
"""

# The median of what each step took so far: one slow day does not move it.
USUAL_DURATIONS = """
SELECT step_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_s) AS seconds
FROM executor.journal
WHERE component = $1 AND kind = 'step_completed' AND duration_s IS NOT NULL AND reason <> 'already_satisfied'
GROUP BY step_id
"""

# --- triggers ---

# $1 id, $2 target, $3 T, $4 event id, $5 event, $6 its trace. Only a newer T replaces what is known.
NOTE_ANNOUNCED = """
INSERT INTO executor.triggers AS t (trigger_id, target, announced_at, event_id, event, traceparent)
VALUES ($1, $2, $3, $4, $5::jsonb, $6)
ON CONFLICT (trigger_id) DO UPDATE
SET target = excluded.target, announced_at = excluded.announced_at,
    event_id = excluded.event_id, event = excluded.event, traceparent = excluded.traceparent
WHERE t.announced_at IS NULL OR t.announced_at < excluded.announced_at
"""

NOTE_OVER = """
INSERT INTO executor.triggers AS t (trigger_id, target, over, over_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (trigger_id) DO UPDATE SET over = excluded.over, over_at = excluded.over_at
WHERE t.over_at IS NULL OR t.over_at < excluded.over_at
"""

TRIGGERS_TO_DECIDE = """
SELECT trigger_id, event::text AS event, event_id, announced_at, announced, settled_by,
       CASE WHEN over_at >= announced_at THEN over END AS over
FROM executor.triggers
WHERE settled_by IS NULL AND announced_at IS NOT NULL
  AND (decided_at IS NULL OR decided_at < announced_at)
ORDER BY announced_at, trigger_id
"""

# Locked, so that of two executors that decide one trigger the second sees what the first did.
LOCK_TRIGGER = """
SELECT event::text AS event, event_id, traceparent, announced_at, announced, declined, settled_by,
       CASE WHEN over_at >= announced_at THEN over END AS over
FROM executor.triggers
WHERE trigger_id = $1 AND settled_by IS NULL AND (decided_at IS NULL OR decided_at < announced_at)
FOR UPDATE
"""

TRIGGERS_SETTLED_BY = """
SELECT event::text AS event, event_id, traceparent, announced_at, announced, declined, settled_by,
       CASE WHEN over_at >= announced_at THEN over END AS over
FROM executor.triggers WHERE settled_by = $1
"""

# Only an execution settles a trigger, and a declined one is none: the next announcement is decided again.
REOPEN_TRIGGERS = """
UPDATE executor.triggers SET settled_by = NULL, declined = declined + 1 WHERE settled_by = $1
"""

TRIGGER_DECIDED = """
UPDATE executor.triggers
SET decided_at = announced_at, settled_by = $2,
    announced = CASE WHEN $3::text IS NULL OR $3::text = ANY (announced) THEN announced
                     ELSE array_append(announced, $3::text) END
WHERE trigger_id = $1
"""

# $1 age, $2 rows. One that was settled and is not known to be over may fire still; one that waits for its
# decision is needed for that, and one that a live execution was begun for, to say whether it is wanted.
PRUNE_TRIGGERS = """
WITH oldest AS (
    SELECT trigger_id FROM executor.triggers t
    WHERE greatest(announced_at, over_at) < now() - $1::interval
      AND (announced_at IS NULL OR decided_at >= announced_at OR settled_by IS NOT NULL)
      AND (settled_by IS NULL OR over_at >= announced_at)
      AND NOT EXISTS (SELECT FROM executor.executions e
                      WHERE e.execution_id = t.settled_by AND e.state IN ('running', 'held'))
    ORDER BY greatest(announced_at, over_at) LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM executor.triggers t USING oldest o WHERE t.trigger_id = o.trigger_id RETURNING 1)
SELECT count(*) FROM gone
"""

# --- pause ---

# A row comes back while the pause holds this execution.
PAUSE_HOLDS = """
SELECT c.reason FROM executor.control c, executor.executions e
WHERE c.paused AND e.execution_id = $1 AND e.heeds_pause
"""

# Whoever decides about a start holds this lock: a pause is before it or after it, never beside it.
LOCK_CONTROL = "SELECT paused, reason FROM executor.control FOR SHARE"

SET_PAUSED = """
UPDATE executor.control SET paused = $1, reason = $2, changed_by = $3, changed_at = $4
"""
