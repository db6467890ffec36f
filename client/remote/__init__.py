"""The verbs of the manager over gRPC: each file holds those of one kind, as in the manager that does the work."""
