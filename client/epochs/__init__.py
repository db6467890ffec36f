"""The order of the rows of an epoch: pure functions, the same on every node, rank and worker. See docs/streaming.md."""
