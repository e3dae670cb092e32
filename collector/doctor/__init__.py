"""Looks at everything that a run needs before it needs it, and says what to mend."""
