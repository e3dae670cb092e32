"""Features: numbers of one market and epoch, computed from what was received before the epoch and nothing else.

`registry` says what a feature is, `catalog` lists all of them, `engine` computes a set of them epoch by epoch. What
features share (best levels, bars, …) is a `Signal`, computed once an epoch. Adding a feature takes one function in the
module of its family, or a new module that `catalog` names, and its test.
"""
