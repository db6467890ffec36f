"""Files of Alluxio for ``tf.io.gfile``, which takes file systems from compiled plug-ins only: under the paths of a mount."""

from __future__ import annotations

from alluxio_lance.files.posix import PosixFsAdapter

__all__ = ["gfile_path"]


def gfile_path(uri: str) -> str:
    """Return a path of a mount for a file, folder or pattern in Alluxio: for ``tf.io.gfile`` and all else of TensorFlow.

    Parameters
    ----------
    uri
        ``alluxio:///FOLDER/FILE``, or with ``*`` and ``?`` for ``tf.io.gfile.glob``.

    Raises
    ------
    InvalidURI
        When it names a resource, or no file.
    NotFound
        When Alluxio is not mounted, or the mount does not show that file; the sentence says what to do.
    """
    return str(PosixFsAdapter.find().path(uri))
