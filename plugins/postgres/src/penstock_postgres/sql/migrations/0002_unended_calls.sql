-- Calls of a message under suspicion that were recorded before they began, and never ended: the worker died. A constant
-- default rewrites no row.
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS unended_calls integer NOT NULL DEFAULT 0;
