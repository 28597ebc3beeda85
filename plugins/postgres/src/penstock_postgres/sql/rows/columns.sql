SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attidentity = 'a' OR a.attgenerated <> '', a.attnotnull
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
