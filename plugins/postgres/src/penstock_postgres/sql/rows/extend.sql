UPDATE {table} AS t
SET {hidden_until} = now() + make_interval(secs => %(lease)s){and_hide}
FROM unnest(%(ids)b::text[], %(tokens)b::uuid[]) AS ours (id, token)
WHERE t.{id} = ours.id::{id_type} AND t.{lease_token} = ours.token
RETURNING t.{id}::text, ours.token
