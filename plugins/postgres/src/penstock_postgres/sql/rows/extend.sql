-- As in extend.sql.
WITH ours AS MATERIALIZED (
    SELECT t.{id} AS place, named.token
    FROM unnest(%(ids)b::text[], %(tokens)b::uuid[]) AS named (id, token)
    JOIN {table} AS t ON t.{id} = named.id::{id_type} AND t.{lease_token} = named.token
), free AS (
    SELECT t.{id} AS place
    FROM ours
    JOIN {table} AS t ON t.{id} = ours.place AND t.{lease_token} = ours.token
    FOR UPDATE OF t SKIP LOCKED
), extended AS (
    UPDATE {table} AS t
    SET {hidden_until} = now() + make_interval(secs => %(lease)s){and_hide}
    FROM free
    WHERE t.{id} = free.place
)
SELECT place::text, token FROM ours
