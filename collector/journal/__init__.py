"""The durable buffer between receipt and backend: SQLite journal and deliverer."""
