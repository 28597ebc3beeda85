-- What waits, is leased, is delayed; and when the oldest of what waits was stored. Reads every row of the queue.
SELECT
    count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'leased'),
    count(*) FILTER (WHERE state = 'delayed'),
    (extract(epoch FROM min(enqueued_at) FILTER (WHERE state = 'waiting')))::float8
FROM (
    SELECT enqueued_at,
        CASE
            WHEN visible_at IS NULL OR visible_at <= now() THEN 'waiting'
            WHEN lease IS NULL THEN 'delayed'
            ELSE 'leased'
        END AS state
    FROM {table} WHERE queue = %(queue)s
) AS message
