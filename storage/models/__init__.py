"""Models in the store: their rows checked as they come in, and the next version written as a difference."""
