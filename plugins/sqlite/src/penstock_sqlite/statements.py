"""Every statement. Each moves a whole batch in one step of SQLite.

Python's sqlite3 gives up the interpreter's lock for each step, and a busy interpreter gives it back only after
milliseconds. So a step a message would be slow exactly when there is much to do. Therefore records travel in one blob,
with a JSON list that says where each begins, and messages come back in one row.
"""

from __future__ import annotations

BODY_BITS = 31
"""A place in the blob is one number: offset << BODY_BITS | length."""

_MASK = (1 << BODY_BITS) - 1


def _slice(place: str) -> str:
    return f"substr(:blob, ({place} >> {BODY_BITS}) + 1, {place} & {_MASK})"


# A plain record is the place of its body; any other one is [body, key, headers, priority, delay].
STORE = f"""
INSERT INTO penstock_messages (queue, enqueued_at, body, "key", headers, priority, visible_at)
SELECT :queue, :now, {_slice("body")}, {_slice('"key"')}, CAST({_slice("headers")} AS TEXT), priority, :now + delay
FROM (
    SELECT id,
           CASE type WHEN 'integer' THEN value ELSE json_extract(value, '$[0]') END AS body,
           CASE type WHEN 'array' THEN json_extract(value, '$[1]') END AS "key",
           CASE type WHEN 'array' THEN json_extract(value, '$[2]') END AS headers,
           CASE type WHEN 'array' THEN json_extract(value, '$[3]') ELSE 0 END AS priority,
           CASE type WHEN 'array' THEN json_extract(value, '$[4]') END AS delay
    FROM json_each(:layout)
)
ORDER BY id
"""  # noqa: S608  (only numbers and names of ours are put in)

# Whether anything is visible, and when the next delay or lease ends.
LOOK = """
SELECT
    EXISTS (SELECT 1 FROM penstock_messages WHERE queue = :queue AND claim IS NULL AND visible_at IS NULL),
    (SELECT min(visible_at) FROM penstock_messages WHERE queue = :queue AND visible_at IS NOT NULL),
    (SELECT min(lease_ends) FROM penstock_claims WHERE queue = :queue)
"""

END_DELAYS = "UPDATE penstock_messages SET visible_at = NULL WHERE queue = :queue AND visible_at <= :now"

_NEXT = """
    FROM penstock_messages
    WHERE queue = :queue AND claim IS NULL AND visible_at IS NULL
    ORDER BY priority DESC, id
    LIMIT :limit
"""

# How many messages the next ones are, and what their bodies weigh.
WEIGH = f"SELECT count(*), total(size) FROM (SELECT length(CAST(body AS BLOB)) AS size {_NEXT})"  # noqa: S608

_MESSAGES = """
SELECT
    group_concat(id),
    group_concat(coalesce(length(CAST(body AS BLOB)), -1)),
    group_concat(enqueued_at),
    CAST(group_concat(CAST(body AS TEXT), '') AS BLOB),
    json_group_array(json_array(
        id, attempts, left_by, unended_calls, length(CAST("key" AS BLOB)), length(CAST(headers AS BLOB))
    )) FILTER (
        WHERE attempts > 0 OR left_by IS NOT NULL OR unended_calls > 0 OR "key" IS NOT NULL OR headers IS NOT NULL
    ),
    CAST(group_concat(CAST("key" AS TEXT), '') AS BLOB),
    CAST(group_concat(headers, '') AS BLOB)
"""

NEXT = f"{_MESSAGES} FROM (SELECT * {_NEXT})"

# Those of the ids that are visible, as far as their bodies are affordable; the first one always.
CHOSEN = f"""
{_MESSAGES}
FROM (
    SELECT *, total(length(CAST(body AS BLOB))) OVER (
        ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS weight_before
    FROM penstock_messages
    WHERE queue = :queue AND claim IS NULL AND visible_at IS NULL AND id IN (SELECT value FROM json_each(:chosen))
    ORDER BY id
)
WHERE weight_before < :most
"""  # noqa: S608

NEW_CLAIM = "INSERT INTO penstock_claims (queue, consumer, lease_ends, messages) VALUES (?, ?, ?, ?)"

CLAIM = """
UPDATE penstock_messages SET claim = :claim, attempts = attempts + 1, left_by = NULL
WHERE id IN (SELECT value FROM json_each(:ids))
"""

# The fence: a delivery is ours as long as its claim stands in the row.
_OURS = "WHERE id IN (SELECT value FROM json_each(:ids)) AND claim = :claim"

DELETE = f"DELETE FROM penstock_messages {_OURS}"  # noqa: S608

REQUEUE = f"UPDATE penstock_messages SET claim = NULL, left_by = NULL, visible_at = :visible_at {_OURS}"  # noqa: S608

RECORD_CALLS = f"UPDATE penstock_messages SET unended_calls = :calls {_OURS}"  # noqa: S608

STILL_OURS = f"SELECT id FROM penstock_messages {_OURS}"  # noqa: S608

END_CLAIMS = "DELETE FROM penstock_claims WHERE id IN (SELECT value FROM json_each(?))"

EXTEND = """
UPDATE penstock_claims SET lease_ends = :lease_ends WHERE id IN (SELECT value FROM json_each(:claims))
"""

WHICH_CLAIMS = "SELECT id FROM penstock_claims WHERE id IN (SELECT value FROM json_each(?))"

# Visible in one part, delayed in the other; claimed in none.
COUNT_WAITING = """
SELECT
    (SELECT count(*) FROM (
        SELECT 1 FROM penstock_messages WHERE queue = :queue AND claim IS NULL AND visible_at IS NULL LIMIT :most
    )) + (SELECT count(*) FROM (
        SELECT 1 FROM penstock_messages WHERE queue = :queue AND visible_at IS NOT NULL LIMIT :most
    ))
"""

CONSUMERS = "SELECT id FROM penstock_consumers WHERE queue = ?"
ENTER = "INSERT OR IGNORE INTO penstock_consumers (id, queue, process) VALUES (?, ?, ?)"
LEAVE = "DELETE FROM penstock_consumers WHERE id = ?"


def free(condition: str, left_by: str) -> tuple[str, str]:
    """Make the messages of some claims visible again, and end the claims.

    Args:
        condition: Which claims.
        left_by: Who left the messages: a column of the claim, or NULL for a consumer that requeues them.

    Returns:
        Two statements for one transaction.
    """
    claims = f"SELECT id FROM penstock_claims WHERE {condition}"  # noqa: S608
    return (
        f"""
        UPDATE penstock_messages
        SET left_by = (SELECT {left_by} FROM penstock_claims AS c WHERE c.id = claim), claim = NULL
        WHERE claim IN ({claims}) AND id IN (
            SELECT value FROM penstock_claims AS c, json_each(c.messages) WHERE c.id IN ({claims})
        )
        """,  # noqa: S608
        f"DELETE FROM penstock_claims WHERE {condition}",  # noqa: S608
    )


FREE_EXPIRED = free("queue = :queue AND lease_ends <= :now", "consumer")
FREE_DEAD = free("consumer = :consumer", "consumer")
FREE_OWN = free("consumer = :consumer", "NULL")

# A delay or a lease that has ended counts as waiting, although no consumer has looked since.
BACKLOG = """
SELECT
    coalesce(sum(ready), 0), coalesce(sum(leased), 0), coalesce(sum(NOT ready AND NOT leased), 0),
    min(enqueued_at) FILTER (WHERE ready)
FROM (
    SELECT m.enqueued_at,
        c.id IS NOT NULL AND c.lease_ends > :now AS leased,
        (c.id IS NULL OR c.lease_ends <= :now) AND (m.visible_at IS NULL OR m.visible_at <= :now) AS ready
    FROM penstock_messages AS m LEFT JOIN penstock_claims AS c ON c.id = m.claim
    WHERE m.queue = :queue
)
"""

BROWSE = """
SELECT id, body, "key", headers, enqueued_at, attempts, claim, visible_at
FROM penstock_messages WHERE queue = ? AND id > ? ORDER BY id LIMIT ?
"""
