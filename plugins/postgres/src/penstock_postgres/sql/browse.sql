-- Messages by id; locks and writes nothing. Up to `bytes`, and one message that exceeds it.
SELECT id::text, body, attempts, state, key, headers::text, extract(epoch FROM enqueued_at)::float8
FROM (
    SELECT id, body, attempts, key, headers, enqueued_at,
        -- A lease that has ended stays written until another consumer claims the row.
        CASE
            WHEN visible_at IS NULL OR visible_at <= now() THEN 'waiting'
            WHEN lease IS NULL THEN 'delayed'
            ELSE 'leased'
        END AS state,
        sum(octet_length(body)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
        SELECT * FROM {table} WHERE queue = %(queue)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
    ) AS page
) AS weighed
WHERE coalesce(before, 0) < %(bytes)s
ORDER BY weighed.id
