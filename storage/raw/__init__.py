"""Columns whose pages in a file are what memory holds: read by plain calls, with nothing to decode."""
