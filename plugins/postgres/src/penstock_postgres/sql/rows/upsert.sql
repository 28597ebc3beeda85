-- An UPDATE may meet a row but once in a statement. What one statement is made of has different keys as they are written; of
-- those that are equal for the database all the same, the last one counts. NULL is equal to nothing.
INSERT INTO {table} ({columns})
SELECT {fields}
FROM (
    SELECT DISTINCT ON ({key}, CASE WHEN num_nulls({key}) > 0 THEN b.place END) r.*, b.place AS {place}
    FROM unnest(%(bodies)b::text[]) WITH ORDINALITY AS b (body, place),
        json_to_record(b.body::json) AS r ({typed_fields})
    ORDER BY {key}, CASE WHEN num_nulls({key}) > 0 THEN b.place END, b.place DESC
) AS r
ORDER BY r.{place}{on_conflict}
