INSERT INTO {table} ({columns})
SELECT {fields}
FROM unnest(%(bodies)b::text[]) WITH ORDINALITY AS b (body, place),
    json_to_record(b.body::json) AS r ({typed_fields})
ORDER BY b.place{on_conflict}
