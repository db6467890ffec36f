"""Uploads in parts that nobody will end: what a writer, or a proxy that was killed, leaves beside the files of tables.

The S3 service keeps the parts in a folder beside the file that they were to become, and what it knows of the upload in a
folder of its own at the top of the namespace. Nothing but an abort removes both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

import requests

from alluxio_lance.errors import NotFound, Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.namespace import Namespace

__all__ = ["Upload", "Uploads", "is_part"]

_PART: Final = re.compile(r"_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/\d+")
_TIMEOUT: Final = 30.0
_GONE: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload that was begun, and neither completed nor aborted."""

    id: str
    path: str
    """What it is to become: absolute in the namespace."""

    @property
    def folder(self) -> str:
        """Where its parts lie."""
        return f"{self.path}_{self.id}"


def is_part(path: str) -> bool:
    """Tell whether a file is a part of an upload, which no table refers to."""
    return _PART.search(path) is not None


class Uploads:
    """The uploads of the bucket that an address lies in.

    Parameters
    ----------
    address
        Which Alluxio, which bucket, and as whom.
    """

    def __init__(self, address: AlluxioAddress) -> None:
        self._bucket = address.folder.strip("/").partition("/")[0]
        self._url = f"{address.s3}/{self._bucket}"
        self._where = f"the S3 service of Alluxio at {address.host}:{address.proxy}"
        self._headers = {"Authorization": address.authorization}

    def open_below(self, folder: str) -> list[Upload]:
        """List the uploads of files below a folder of the namespace, sorted by path; none in a bucket that is not there.

        Raises
        ------
        Unavailable
            When the service does not answer, or not with a list.
        """
        with self._session() as session:
            answer = session.get(f"{self._url}?uploads", timeout=_TIMEOUT)
            if answer.status_code == _GONE:
                return []
            answer.raise_for_status()
            found = ET.fromstring(answer.content)  # noqa: S314 - the answer of the service that the tables lie in
        uploads = [
            Upload(id=_text(each, "UploadId"), path=f"/{self._bucket}/{_text(each, 'Key').lstrip('/')}")
            for each in found.iter()
            if _name(each) == "Upload"
        ]
        return sorted((each for each in uploads if each.path.startswith(f"{folder}/")), key=lambda each: each.path)

    def abort(self, upload: Upload) -> None:
        """Remove an upload with its parts; one that is gone is no error.

        Raises
        ------
        Unavailable
            When the service does not answer, or refuses.
        """
        key = upload.path.removeprefix(f"/{self._bucket}/")
        with self._session() as session:
            answer = session.delete(f"{self._url}/{quote(key)}", params={"uploadId": upload.id}, timeout=_TIMEOUT)
            if answer.status_code != _GONE:
                answer.raise_for_status()

    def bytes_of(self, upload: Upload, namespace: Namespace) -> int:
        """Sum the sizes of the parts that are there."""
        try:
            return sum(each.length for each in namespace.list(upload.folder))
        except NotFound:
            return 0

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """Give what calls the service, and make ours of its errors."""
        try:
            with requests.Session() as session:
                # What an HTTP proxy of the site would answer is not Alluxio's; nor would it know this user.
                session.trust_env = False
                session.headers.update(self._headers)
                yield session
        except (requests.RequestException, ET.ParseError) as error:
            raise Unavailable(
                f"{self._where} does not tell of open uploads ({error}): see `alluxio-lance alluxio status`",
                what="alluxio",
            ) from error


def _name(element: ET.Element) -> str:
    """Return the name of an element without the name space that it may have."""
    return element.tag.rpartition("}")[2]


def _text(element: ET.Element, name: str) -> str:
    return next((child.text or "" for child in element if _name(child) == name), "")
