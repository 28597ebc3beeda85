UPDATE {table} AS q
SET visible_at = CASE WHEN %(delay)s > 0 THEN now() + make_interval(secs => %(delay)s) END,
    lease = NULL,
    leased_by = NULL
FROM unnest(%(ids)b::bigint[], %(tokens)b::uuid[]) AS ours (id, token)
WHERE q.id = ours.id AND q.lease = ours.token
RETURNING q.id, ours.token
