"""sim: a simulated broker and world on one seed, and the checkers of the invariants."""
