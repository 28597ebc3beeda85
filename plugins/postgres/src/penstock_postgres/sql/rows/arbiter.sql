-- The predicates of the unique indexes over exactly these columns that can decide a conflict; the index of all rows, which
-- has none, first.
SELECT pg_get_expr(i.indpred, i.indrelid)
FROM pg_index AS i
WHERE i.indrelid = to_regclass(%(table)s) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indexprs IS NULL
  AND %(columns)b::text[] = (
      SELECT array_agg(a.attname::text ORDER BY a.attname COLLATE "C")
      FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (number)
      JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
  )
ORDER BY i.indpred IS NOT NULL
