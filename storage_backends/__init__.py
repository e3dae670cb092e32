"""Where rows live: table schemas, the storage interface, its errors and the backends. Knows nothing of exchanges."""
