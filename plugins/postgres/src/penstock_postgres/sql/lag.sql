-- Messages that wait, visible or delayed, without leased ones. Counts at most `most` of each kind.
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
