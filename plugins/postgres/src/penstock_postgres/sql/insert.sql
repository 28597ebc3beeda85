INSERT INTO {table} (queue, body, key, headers, priority, visible_at)
SELECT %(queue)s, body, key, headers::jsonb, priority,
       CASE WHEN delay > 0 THEN now() + make_interval(secs => delay) END
FROM unnest(
    %(bodies)b::bytea[], %(keys)b::bytea[], %(headers)b::text[], %(priorities)b::smallint[], %(delays)b::float8[]
) WITH ORDINALITY AS r (body, key, headers, priority, delay, place)
ORDER BY place
