-- What waits: visible, or held back by a delay. Not what is leased. No more than `most` are counted.
SELECT (
    SELECT count(*)
    FROM (
        SELECT FROM {table} WHERE queue = %(queue)s AND visible_at IS NULL LIMIT %(most)s
    ) AS visible
) + (
    SELECT count(*)
    FROM (
        SELECT
        FROM {table}
        WHERE queue = %(queue)s AND visible_at IS NOT NULL AND (lease IS NULL OR visible_at <= now())
        LIMIT %(most)s
    ) AS hidden
)
