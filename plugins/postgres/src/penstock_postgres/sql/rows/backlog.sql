-- As in backlog.sql. A row that another program keeps invisible is not counted.
SELECT
    count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'leased'),
    count(*) FILTER (WHERE state = 'delayed'), NULL::float8
FROM (
    SELECT
        CASE
            WHEN {hidden_until} IS NULL THEN CASE WHEN {waits} THEN 'waiting' ELSE 'unknown' END
            WHEN {hidden_until} <= now() THEN 'waiting'
            WHEN {lease_token} IS NULL THEN 'delayed'
            ELSE 'leased'
        END AS state
    FROM {table}
) AS message
