ALTER TABLE {table}
    ADD COLUMN IF NOT EXISTS {hidden_until} timestamptz,
    ADD COLUMN IF NOT EXISTS {lease_token} uuid,
    ADD COLUMN IF NOT EXISTS {attempts} integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS {unended_calls} integer NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS {ready_index} ON {table} ({id}) WHERE {hidden_until} IS NULL{and_visible};
CREATE INDEX IF NOT EXISTS {hidden_index} ON {table} ({hidden_until}) WHERE {hidden_until} IS NOT NULL;
