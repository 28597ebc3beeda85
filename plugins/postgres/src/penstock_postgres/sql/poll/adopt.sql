-- Rows that are there get the transaction of this statement: they are read first, by their key.
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} xid8 NOT NULL DEFAULT pg_current_xact_id()
