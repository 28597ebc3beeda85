UPDATE {table} AS q
SET visible_at = now() + make_interval(secs => %(lease)s)
FROM unnest(%(ids)b::bigint[], %(tokens)b::uuid[]) AS ours (id, token)
WHERE q.id = ours.id AND q.lease = ours.token
RETURNING q.id, ours.token
