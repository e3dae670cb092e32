"""Batch jobs from stored tables to a model that runs live: export, train, evaluate, predict, report, serve."""
