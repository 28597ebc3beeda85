-- Tables that inherit from this one without being its partitions: their rows show in it, with ids of their own.
SELECT count(*)
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhparent
WHERE i.inhparent = to_regclass(%(table)s) AND c.relkind <> 'p'
