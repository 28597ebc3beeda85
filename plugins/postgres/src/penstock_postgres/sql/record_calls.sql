-- How many calls of each message began and did not end. Set, not incremented, because it may be repeated after a lost
-- answer.
UPDATE {table} AS q
SET unended_calls = ours.calls
FROM unnest(%(ids)b::bigint[], %(tokens)b::uuid[], %(calls)b::integer[]) AS ours (id, token, calls)
WHERE q.id = ours.id AND q.lease = ours.token
RETURNING q.id, ours.token
