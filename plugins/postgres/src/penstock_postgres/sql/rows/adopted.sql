SELECT count(*)
FROM pg_index
WHERE indexrelid = ANY (ARRAY[to_regclass(%(ready_index)s), to_regclass(%(hidden_index)s)]) AND indisvalid
