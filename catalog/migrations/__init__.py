"""How a database of an older release, or an empty one, becomes one of this release."""
