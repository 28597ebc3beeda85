-- Makes messages visible whose delays or leases have ended. The lease stays written, so that its owner can still settle
-- until another consumer claims the message.
-- Returns how many, and the seconds until the next.
WITH due AS (
    SELECT id
    FROM {table}
    WHERE queue = %(queue)s AND visible_at <= now()
    LIMIT 10000
    FOR UPDATE SKIP LOCKED
), woken AS (
    UPDATE {table} AS q SET visible_at = NULL FROM due WHERE q.id = due.id RETURNING 1
)
SELECT
    (SELECT count(*) FROM woken),
    (SELECT extract(epoch FROM min(visible_at) - now())::float8
     FROM {table}
     WHERE queue = %(queue)s AND visible_at > now())
