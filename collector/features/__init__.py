"""Features outside the core: chosen by an option, computed again from a store, drawn."""
