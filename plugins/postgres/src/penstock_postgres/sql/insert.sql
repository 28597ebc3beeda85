-- Instead of COPY, because this stores, notifies and commits in one round trip, with delays by the server's clock.
-- Measured with messages of 200 bytes against COPY and pg_notify: 1.4 times as fast for one message, 1.3 for ten, equal for
-- 100, 0.7 for 1,000.
INSERT INTO {table} (queue, body, key, headers, priority, visible_at)
SELECT %(queue)s, body, key, headers::jsonb, priority,
       CASE WHEN delay > 0 THEN now() + make_interval(secs => delay) END
FROM unnest(
    %(bodies)b::bytea[], %(keys)b::bytea[], %(headers)b::text[], %(priorities)b::smallint[], %(delays)b::float8[]
) WITH ORDINALITY AS r (body, key, headers, priority, delay, place)
ORDER BY place
