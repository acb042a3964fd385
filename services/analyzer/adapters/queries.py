"""All SQL of the analyzer. Every statement may run again: what it says is already so."""

# Ownership

TAKE_OVER = "UPDATE analyzer.owner SET epoch = epoch + 1, holder = $1, since = now() RETURNING epoch"

# Whoever takes over waits for what is being written in the epoch before.
EPOCH = "SELECT epoch FROM analyzer.owner FOR SHARE"

# Incidents

# A row comes back for an incident that was not known: its opening is told once, however long it lasts.
OPEN_INCIDENT = """
INSERT INTO analyzer.incidents
    (incident_id, component, components, status, opened_at, began, outcome, reason, why, executions, triggers)
VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (incident_id) DO NOTHING RETURNING incident_id
"""

# A closed or merged incident is never opened again.
SAVE_INCIDENT = """
UPDATE analyzer.incidents SET
    component = $2, components = $3, opened_at = $4, began = $5, outcome = $6, reason = $7, why = $8,
    executions = $9, triggers = $10, updated_at = now()
WHERE incident_id = $1 AND status = 'open'
"""

SAVE_MEMBERS = """
INSERT INTO analyzer.members (member_id, incident_id) SELECT member, $1 FROM unnest($2::text[]) AS member
ON CONFLICT (member_id) DO UPDATE SET incident_id = excluded.incident_id
WHERE members.incident_id <> excluded.incident_id
"""

MERGE_INCIDENT = """
UPDATE analyzer.incidents SET
    status = 'merged', merged_into = $2, reason = 'merged', why = $3, updated_at = now()
WHERE incident_id = $1 AND status = 'open'
RETURNING component, components, opened_at
"""

# After the first time there is nothing left to move: it is asked again with each event.
MOVE_ARCHIVE = """
WITH moved AS (DELETE FROM analyzer.archive WHERE incident_id = $1 RETURNING *)
INSERT INTO analyzer.archive (incident_id, topic, partition, "offset", timestamp_ms, key, value, event_id)
SELECT $2, topic, partition, "offset", timestamp_ms, key, value, event_id FROM moved
ON CONFLICT DO NOTHING
"""

# What opened has a row, and keeps its evidence.
FORGET_ARCHIVE = """
DELETE FROM analyzer.archive WHERE incident_id = $1
    AND NOT EXISTS (SELECT FROM analyzer.incidents WHERE incident_id = $1)
"""

FORGET_MEMBERS = """
DELETE FROM analyzer.members WHERE incident_id = $1
    AND NOT EXISTS (SELECT FROM analyzer.incidents WHERE incident_id = $1)
"""

CLOSED_AMONG = """
SELECT i.incident_id, i.component, i.opened_at, i.closing
FROM analyzer.members m JOIN analyzer.incidents i USING (incident_id)
WHERE m.member_id = ANY($1::text[]) AND i.status = 'closed'
ORDER BY array_position($1::text[], m.member_id) LIMIT 1
"""

# The first closing event by offset counts; a later one finds the incident closed.
CLOSE_INCIDENT = """
UPDATE analyzer.incidents SET
    status = 'closed', closed_at = $2, reason = $3, why = $4, outcome = $5, closing = $6, closing_offset = $7,
    component = $8, components = $9, opened_at = $10, executions = $11, triggers = $12, updated_at = now()
WHERE incident_id = $1 AND status = 'open'
"""

NOTE_WAITING = """
UPDATE analyzer.incidents SET reason = $2, why = $3, outcome = $4, updated_at = now()
WHERE incident_id = $1 AND status = 'open' AND (reason, why, outcome) IS DISTINCT FROM ($2, $3, $4)
"""

# Archive

ARCHIVE_RECORD = """
INSERT INTO analyzer.archive (incident_id, topic, partition, "offset", timestamp_ms, key, value, event_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING
"""

FIRST_ARCHIVED = """
SELECT topic, min("offset") AS first FROM analyzer.archive
WHERE incident_id = $1 AND topic = ANY($2::text[]) GROUP BY topic
"""

# Events only: metrics and logs go on to be archived until the closing event has come back.
ARCHIVED_BEYOND = """
SELECT topic, partition, "offset", value FROM analyzer.archive later
WHERE incident_id = $1 AND topic = $2 AND partition = $3 AND "offset" > $4 AND event_id IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM analyzer.archive earlier
        WHERE earlier.incident_id = $1 AND earlier.topic = $2 AND earlier.partition = $3
            AND earlier.event_id = later.event_id AND earlier."offset" <= $4)
ORDER BY "offset"
"""

IS_ARCHIVED = """
SELECT EXISTS (SELECT FROM analyzer.archive WHERE incident_id = $1 AND event_id = $2)
"""

ARCHIVED_BETWEEN = """
SELECT topic, partition, "offset", timestamp_ms, key, value FROM analyzer.archive
WHERE incident_id = $1 AND topic = $2 AND partition = $3 AND "offset" BETWEEN $4 AND $5 ORDER BY "offset"
"""

ARCHIVING = """
SELECT component, topic, partition, first, next_offset FROM analyzer.archived WHERE incident_id = $1
ORDER BY topic, partition, component
"""

BEGIN_ARCHIVING = """
INSERT INTO analyzer.archived (incident_id, component, topic, partition, first, next_offset)
VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING
"""

ARCHIVED_TO = """
UPDATE analyzer.archived SET next_offset = greatest(next_offset, $5)
WHERE incident_id = $1 AND component = $2 AND topic = $3 AND partition = $4
"""

# The echoes of what has not opened yet have no row.
OPEN_EVENTS = """
SELECT topic, partition, "offset", timestamp_ms, value FROM analyzer.archive a
WHERE event_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM analyzer.incidents i WHERE i.incident_id = a.incident_id AND i.status <> 'open')
ORDER BY topic, partition, "offset"
"""

ENDED_AMONG = """
SELECT incident_id FROM analyzer.incidents WHERE incident_id = ANY($1::text[]) AND status <> 'open'
"""

# Addenda and progress

SAVE_ADDENDUM = """
INSERT INTO analyzer.addenda (incident_id, event_id, type, topic, partition, "offset", at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
"""

SAVE_PROGRESS = """
INSERT INTO analyzer.progress (topic, partition, next_offset) VALUES ($1, $2, $3)
ON CONFLICT (topic, partition) DO UPDATE
SET next_offset = greatest(progress.next_offset, excluded.next_offset)
"""

PROGRESS = "SELECT topic, next_offset FROM analyzer.progress WHERE partition = 0 AND topic = ANY($1::text[])"

# Reports

UNREPORTED = """
SELECT incident_id, closing FROM analyzer.incidents
WHERE status = 'closed' AND report_sha256 IS NULL AND closing IS NOT NULL ORDER BY closed_at, incident_id
"""

SAVE_REPORT = """
UPDATE analyzer.incidents SET report_sha256 = $2, report_dir = $3, report_error = NULL, updated_at = now()
WHERE incident_id = $1
"""

REPORT_FAILED = "UPDATE analyzer.incidents SET report_error = $2, updated_at = now() WHERE incident_id = $1"

REPORT_OF = """
SELECT closing, report_sha256, report_dir FROM analyzer.incidents
WHERE incident_id = $1 AND report_sha256 IS NOT NULL
"""
