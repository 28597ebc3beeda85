-- As in browse.sql. If a row is neither visible nor leased, another program keeps it invisible.
SELECT position, body, attempts, state
FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
        SELECT
            t.{id} AS place, t.{id}::text AS position, coalesce(t.{attempts}, 0) AS attempts,
            (SELECT convert_to(row_to_json(r.*)::text, 'UTF8') FROM (SELECT {fields}) AS r) AS body,
            CASE
                WHEN t.{hidden_until} IS NULL THEN CASE WHEN {waits} THEN 'waiting' ELSE 'unknown' END
                WHEN t.{hidden_until} <= now() THEN 'waiting'
                WHEN t.{lease_token} IS NULL THEN 'delayed'
                ELSE 'leased'
            END AS state
        FROM {table} AS t{behind}
        ORDER BY t.{id}
        LIMIT %(limit)s
    ) AS page
) AS weighed
WHERE coalesce(before, 0) < %(bytes)s
ORDER BY place
