DELETE FROM {table} AS t
USING unnest(%(ids)b::text[], %(tokens)b::uuid[]) AS ours (id, token)
WHERE t.{id} = ours.id::{id_type} AND t.{lease_token} = ours.token
RETURNING t.{id}::text, ours.token
