-- Returns the deliveries that are still ours, as far as is committed. A row that a settlement has locked is skipped: it is
-- deleted soon, or the next extension includes it. So this neither waits nor deadlocks.
WITH ours AS MATERIALIZED (
    SELECT q.id, named.token
    FROM unnest(%(ids)b::bigint[], %(tokens)b::uuid[]) AS named (id, token)
    JOIN {table} AS q ON q.id = named.id AND q.lease = named.token
), free AS (
    SELECT q.id
    FROM ours
    JOIN {table} AS q ON q.id = ours.id AND q.lease = ours.token
    FOR UPDATE OF q SKIP LOCKED
), extended AS (
    UPDATE {table} AS q
    SET visible_at = now() + make_interval(secs => %(lease)s)
    FROM free
    WHERE q.id = free.id
)
SELECT id, token FROM ours
