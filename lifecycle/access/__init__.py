"""Who may do what: one check for every verb on every face, and the ways in which callers prove who they are."""

from alluxio_lance.lifecycle.access.checking import Access

__all__ = ["Access"]
