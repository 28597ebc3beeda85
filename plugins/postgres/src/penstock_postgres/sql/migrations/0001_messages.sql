-- All queues of an installation in one table. A row is visible (visible_at is null), then leased (visible_at is when the
-- lease ends), then deleted. A delayed row has a visible_at and no lease.
CREATE TABLE IF NOT EXISTS {table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    visible_at timestamptz,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    lease uuid,
    attempts integer NOT NULL DEFAULT 0,
    priority smallint NOT NULL DEFAULT 0,
    queue text NOT NULL,
    leased_by text,
    key bytea,
    headers jsonb,
    body bytea
) WITH (
    -- Every row is rewritten once before it is deleted. So its page keeps room for that, and a vacuum runs after each
    -- thousand, whatever the table's size.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 0
);

-- Visible rows, in the order in which they are claimed.
CREATE INDEX IF NOT EXISTS {ready_index} ON {table} (queue, priority DESC, id) WHERE visible_at IS NULL;

-- Hidden rows, by the time when that ends.
CREATE INDEX IF NOT EXISTS {hidden_index} ON {table} (queue, visible_at) WHERE visible_at IS NOT NULL;
