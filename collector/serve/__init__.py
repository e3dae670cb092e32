"""HTTP over what is collected and what was: FastAPI, in a process of its own."""
