UPDATE {table} AS t
SET {hidden_until} = CASE WHEN %(delay)s > 0 THEN now() + make_interval(secs => %(delay)s) END,
    {lease_token} = NULL{and_show}
FROM unnest(%(ids)b::text[], %(tokens)b::uuid[]) AS ours (id, token)
WHERE t.{id} = ours.id::{id_type} AND t.{lease_token} = ours.token
RETURNING t.{id}::text, ours.token
