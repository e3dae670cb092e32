"""The terminal view of a running collector: reads its HTTP side, writes nothing."""
