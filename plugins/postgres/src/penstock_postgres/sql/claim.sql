-- Visible messages, the highest priority first, then the lowest id. A row that another session claims is skipped.
WITH taken AS (
    SELECT id, lease, octet_length(body) AS size
    FROM {table}
    WHERE queue = %(queue)s AND visible_at IS NULL{and_chosen}
    ORDER BY priority DESC, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), light AS (
    -- Up to `bytes`, and one message that exceeds it.
    SELECT id, lease
    FROM (
        SELECT id, lease, sum(size) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM taken
    ) AS weighed
    WHERE coalesce(before, 0) < %(bytes)s
), claimed AS (
    UPDATE {table} AS q
    SET visible_at = now() + make_interval(secs => %(lease)s),
        attempts = q.attempts + 1,
        lease = %(token)s,
        leased_by = %(worker)s
    FROM light
    WHERE q.id = light.id
    RETURNING q.id, q.body, q.key, q.headers::text AS headers,
              extract(epoch FROM q.enqueued_at)::float8 AS enqueued_at, q.attempts, q.priority,
              -- Not null: the last delivery was neither settled nor requeued.
              light.lease AS last_lease, q.unended_calls
)
SELECT id, body, key, headers, enqueued_at, attempts, last_lease, unended_calls
FROM claimed
ORDER BY priority DESC, id
