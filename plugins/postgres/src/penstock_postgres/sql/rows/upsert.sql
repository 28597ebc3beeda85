-- A statement may update a row only once. Its records have different keys as text; if the database finds two of them equal,
-- the last one counts. NULL equals nothing.
INSERT INTO {table} ({columns})
SELECT {fields}
FROM (
    SELECT DISTINCT ON ({key}, CASE WHEN num_nulls({key}) > 0 THEN b.place END) r.*, b.place AS {place}
    FROM unnest(%(bodies)b::text[]) WITH ORDINALITY AS b (body, place),
        json_to_record(b.body::json) AS r ({typed_fields})
    ORDER BY {key}, CASE WHEN num_nulls({key}) > 0 THEN b.place END, b.place DESC
) AS r
ORDER BY r.{place}{on_conflict}
