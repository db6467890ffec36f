"""Which rows a view shows: numbers only, for any framework."""
