"""The methods of the service Lifecycle: each file holds those of one kind, as in the manager that does the work."""
