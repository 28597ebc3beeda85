DELETE FROM {table} AS q
USING unnest(%(ids)b::bigint[], %(tokens)b::uuid[]) AS ours (id, token)
WHERE q.id = ours.id AND q.lease = ours.token
RETURNING q.id, ours.token
