-- How far each reader of each table has settled.
CREATE TABLE IF NOT EXISTS {marks} (
    table_name text NOT NULL,
    reader text NOT NULL,
    xid text NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (table_name, reader)
)
