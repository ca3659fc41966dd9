"""The only place that imports pyarrow and duckdb: schema, store and queries."""
