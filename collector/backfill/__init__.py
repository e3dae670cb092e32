"""History by REST and from archive files, into the store that a live run writes to."""
