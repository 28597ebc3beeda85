SELECT (
    SELECT count(*)
    FROM (
        SELECT FROM {table} WHERE {hidden_until} IS NULL AND {waits} LIMIT %(most)s
    ) AS visible
) + (
    SELECT count(*)
    FROM (
        SELECT
        FROM {table}
        WHERE {hidden_until} IS NOT NULL AND ({lease_token} IS NULL OR {hidden_until} <= now())
        LIMIT %(most)s
    ) AS hidden
)
