"""Every statement of the notifier, in one place. Times are the database's own: instances on
hosts whose clocks differ still agree on leases and on what can no longer land."""

from __future__ import annotations

NOW = "SELECT clock_timestamp()"

# A newer announcement makes an edit that nobody has begun to send pointless.
SUPERSEDE_PROGRESS = """
UPDATE notifier.deliveries
SET state = 'superseded', settled_at = clock_timestamp()
WHERE lane = $1 AND about = 'progress' AND state = 'pending'
  AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
"""

INSERT = """
INSERT INTO notifier.deliveries (
    delivery_id, incident_id, execution_id, component, event_id, receiver, tier, channel, addresses,
    lane, about, template, message, caused_at, due, state, reason, settled_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
    CASE WHEN $16 = 'pending' THEN NULL ELSE clock_timestamp() END)
ON CONFLICT (delivery_id) DO NOTHING
RETURNING delivery_id, settled_at
"""

# One receiver's oldest delivery that is due, is nobody's, and is the first of its lane: a lane
# keeps its order, and no more than one change of its remote object is under way. A mail that some
# of its addresses still lack keeps the next one from those alone. $4 is the least time between the
# answer to one change of an object and the next change.
CLAIM = """
UPDATE notifier.deliveries AS claimed
SET claimed_by = $2, claimed_until = clock_timestamp() + $3
WHERE delivery_id = (
    SELECT candidate.delivery_id
    FROM notifier.deliveries AS candidate
    WHERE candidate.receiver = $1
      AND candidate.state IN ('pending', 'in_doubt')
      AND candidate.next_attempt_at <= clock_timestamp()
      AND (candidate.claimed_until IS NULL OR candidate.claimed_until < clock_timestamp())
      AND NOT EXISTS (
          SELECT FROM notifier.deliveries AS earlier
          WHERE earlier.lane = candidate.lane
            AND earlier.position <> candidate.position
            AND (
                (
                    earlier.position < candidate.position
                    AND earlier.state IN ('pending', 'in_doubt')
                    AND (
                        earlier.unserved IS NULL
                        OR coalesce(candidate.unserved, candidate.addresses) <@ (
                            SELECT array_agg(address)
                            FROM notifier.deliveries AS behind, unnest(behind.unserved) AS address
                            WHERE behind.lane = candidate.lane
                              AND behind.position < candidate.position
                              AND behind.state IN ('pending', 'in_doubt')
                        )
                    )
                )
                OR (
                    earlier.sent_at IS NOT NULL
                    AND coalesce(earlier.settled_at, earlier.sent_at) > clock_timestamp() - $4::interval
                )
            )
      )
    ORDER BY candidate.position
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING *
"""

# Who still lacks an earlier mail of the lane.
HELD_BACK = """
SELECT coalesce(array_agg(DISTINCT address), '{}')
FROM notifier.deliveries AS earlier, unnest(earlier.unserved) AS address
WHERE earlier.lane = $1 AND earlier.position < $2 AND earlier.state IN ('pending', 'in_doubt')
"""

# The remote object that the lane has, and the delivery that its thread of mails began with: one that
# failed for some of its addresses has a remote id, too, and one that only some of them have has none yet.
LANE = """
SELECT remote_id, place, event_id FROM notifier.lanes WHERE lane = $1
"""
FIRST_OF_LANE = """
SELECT delivery_id FROM notifier.deliveries
WHERE lane = $1 AND position < $2 AND (
    remote_id IS NOT NULL
    OR (
        state IN ('pending', 'in_doubt')
        AND cardinality(unserved) + (SELECT count(*) FROM jsonb_object_keys(refused))
            < cardinality(addresses)
    )
)
ORDER BY position LIMIT 1
"""

# The intent: from here on the delivery is in doubt. It fails if the claim has passed to another.
INTEND = """
UPDATE notifier.deliveries
SET state = 'in_doubt', attempts = attempts + 1, sent_at = clock_timestamp()
WHERE delivery_id = $1 AND claimed_by = $2 AND state IN ('pending', 'in_doubt')
RETURNING attempts
"""

POSTPONE = """
UPDATE notifier.deliveries
SET state = $3, next_attempt_at = $4, reason = $5, failures = failures + $6,
    unserved = $7, refused = $8, claimed_by = NULL, claimed_until = NULL
WHERE delivery_id = $1 AND claimed_by = $2 AND state IN ('pending', 'in_doubt')
"""

# What became of an attempt is true whoever holds the claim by now; a later attempt's is newer.
SETTLE = """
UPDATE notifier.deliveries
SET state = $3, remote_id = $4, reason = $5, settled_at = clock_timestamp(),
    claimed_by = NULL, claimed_until = NULL
WHERE delivery_id = $1 AND attempts = $2 AND state IN ('pending', 'in_doubt')
RETURNING settled_at
"""

PUT_LANE = """
INSERT INTO notifier.lanes (lane, remote_id, place, event_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (lane) DO UPDATE
SET remote_id = excluded.remote_id, place = excluded.place, event_id = excluded.event_id,
    updated_at = clock_timestamp()
"""

RENEW_CLAIMS = """
UPDATE notifier.deliveries SET claimed_until = clock_timestamp() + $2
WHERE claimed_by = $1 AND delivery_id = ANY ($3::text[]) AND state IN ('pending', 'in_doubt')
"""

# A restarted instance need not wait for its predecessor's leases: the predecessor can write no
# intent any more, and what it has sent is in doubt, as after any crash.
TAKE_BACK_CLAIMS = """
UPDATE notifier.deliveries SET claimed_by = NULL, claimed_until = NULL
WHERE starts_with(claimed_by, $1) AND state IN ('pending', 'in_doubt')
"""

# Deliveries to receivers that the configuration no longer reaches: nobody would ever claim them.
UNREACHABLE = """
SELECT * FROM notifier.deliveries
WHERE state IN ('pending', 'in_doubt') AND NOT (receiver = ANY ($1::text[]))
ORDER BY position
"""

EVALUATION = """
SELECT known, clock_timestamp() AS now FROM notifier.evaluation
"""
# The lock is taken before the time is read: whoever waited for it must not decide on an earlier time.
LOCKED_EVALUATION = """
WITH locked AS MATERIALIZED (SELECT known FROM notifier.evaluation FOR UPDATE)
SELECT known, clock_timestamp() AS now FROM locked
"""
KEEP_EVALUATION = """
UPDATE notifier.evaluation SET known = $1, changed_at = clock_timestamp()
"""

OPEN_COUNTS = """
SELECT channel, count(*) AS open FROM notifier.deliveries
WHERE state IN ('pending', 'in_doubt') GROUP BY channel
"""

# One incident's deliveries are one: the last edits what the first has posted, or answers its mail. They go
# together, once each of them was settled long ago ($2), and what they tell of has ended for those who
# were told that it began ($3 the beginnings, $4 the ends). $1 are incidents.
PRUNE_DELIVERIES = """
WITH over AS (
    SELECT incident_id FROM unnest($1::text[]) AS of (incident_id)
    WHERE NOT EXISTS (
        SELECT FROM notifier.deliveries d WHERE d.incident_id = of.incident_id
          AND (d.settled_at IS NULL OR d.settled_at >= now() - $2::interval)
    ) AND NOT EXISTS (
        SELECT FROM notifier.deliveries began
        WHERE began.incident_id = of.incident_id AND began.about = ANY ($3::text[]) AND NOT EXISTS (
            SELECT FROM notifier.deliveries ended
            WHERE ended.incident_id = began.incident_id AND ended.execution_id = began.execution_id
              AND ended.about = ANY ($4::text[]))
    )
), gone AS (
    DELETE FROM notifier.deliveries d USING over WHERE d.incident_id = over.incident_id RETURNING d.lane
), lanes AS (
    DELETE FROM notifier.lanes l WHERE l.lane IN (SELECT lane FROM gone)
)
SELECT count(*) FROM gone
"""

# The next of those that were settled long ago ($1), after ($2, $3).
SETTLED_LONG_AGO = """
SELECT settled_at, position, incident_id FROM notifier.deliveries
WHERE settled_at < now() - $1::interval AND (settled_at, position) > ($2, $3)
ORDER BY settled_at, position LIMIT $4
"""
