WITH due AS (
    SELECT {id}
    FROM {table}
    WHERE {hidden_until} <= now()
    LIMIT 10000
    FOR UPDATE SKIP LOCKED
), woken AS (
    UPDATE {table} AS t SET {hidden_until} = NULL{and_hand_over} FROM due WHERE t.{id} = due.{id} RETURNING 1
)
SELECT
    (SELECT count(*) FROM woken),
    (SELECT extract(epoch FROM min({hidden_until}) - now())::float8 FROM {table} WHERE {hidden_until} > now())
