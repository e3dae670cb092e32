"""Pure market logic: inputs with their times in, records out. No IO, no clock, no logging, no other folder imported."""
