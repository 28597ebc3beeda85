"""From what the user wrote to what the engine opens: model, files, environment, resolve, schema."""
