"""Plain files in Alluxio's namespace, for servers and training processes alike: found, listed, read by the nearest way."""

from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.files.posix import PosixFsAdapter

__all__ = ["AlluxioFiles", "PosixFsAdapter"]
