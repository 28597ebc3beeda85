UPDATE {table} AS t
SET {unended_calls} = ours.calls
FROM unnest(%(ids)b::text[], %(tokens)b::uuid[], %(calls)b::integer[]) AS ours (id, token, calls)
WHERE t.{id} = ours.id::{id_type} AND t.{lease_token} = ours.token
RETURNING t.{id}::text, ours.token
