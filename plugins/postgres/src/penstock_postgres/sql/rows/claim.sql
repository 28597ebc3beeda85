WITH taken AS (
    SELECT {id}, {lease_token}
    FROM {table}
    WHERE {hidden_until} IS NULL AND {waits}{and_chosen}
    ORDER BY {id}
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE {table} AS t
    SET {hidden_until} = now() + make_interval(secs => %(lease)s),
        {attempts} = coalesce(t.{attempts}, 0) + 1,
        {lease_token} = %(token)s{and_hide}
    FROM taken
    WHERE t.{id} = taken.{id}
    RETURNING t.{id} AS place, t.{id}::text AS row_id,
        (SELECT convert_to(row_to_json(r.*)::text, 'UTF8') FROM (SELECT {fields}) AS r) AS body,
        t.{attempts} AS tries, taken.{lease_token} AS last_lease, {unended_calls} AS unended_calls
)
SELECT row_id, body, tries, last_lease, unended_calls
FROM claimed
ORDER BY place
