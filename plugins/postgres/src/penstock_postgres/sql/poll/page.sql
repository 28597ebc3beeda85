-- Below the oldest open transaction nothing can be written any more.
SELECT {xid}::text, json_build_array({key})::text, json_build_object({pairs})::text, (to_jsonb(r) - {name})::text, {body}
FROM {table} r
WHERE ({after}) AND {xid} < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY {xid}, {key}
LIMIT %(limit)s
