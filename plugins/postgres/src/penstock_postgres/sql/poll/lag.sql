-- Also what an open transaction still holds back.
SELECT count(*) FROM (SELECT FROM {table} r WHERE {after} LIMIT %(limit)s) waiting
