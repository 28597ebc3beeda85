INSERT INTO {marks} (table_name, reader, xid, key) VALUES (%(table)s, %(reader)s, %(xid)s, %(key)s)
ON CONFLICT (table_name, reader) DO UPDATE SET xid = excluded.xid, key = excluded.key
