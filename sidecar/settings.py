"""The settings of a node: defaults for a laptop, overridden by ``alluxio-lance.toml``, then ``ALLUXIO_LANCE_*``, then arguments."""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from alluxio_lance.address import default_run_folder
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.sizes import read_size

__all__ = ["Settings", "Share"]

_PREFIX: Final = "ALLUXIO_LANCE_"
_FILE: Final = "alluxio-lance.toml"
_DISK_SHARE: Final = 0.1
"""What the disk tier may have of the free disk by default, where it is on."""
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class Share(float):
    """A share of the memory that the node has, or of the disk that is free, above 0 and at most 1."""


def _read_budget(value: Any) -> int | Share | None:
    return _read_share(value, "the memory", "60%")


def _read_disk_budget(value: Any) -> int | Share | None:
    if not isinstance(value, bool) and str(value).strip() == "0":
        return 0
    return _read_share(value, "the free disk", "10%")


def _read_share(value: Any, whole: str, example: str) -> int | Share | None:
    if value is None or isinstance(value, Share):
        return value
    if percent := _PERCENT.fullmatch(str(value).strip()):
        share = float(percent[1]) / 100
        if not 0 < share <= 1:
            raise ValueError(f"a share of {whole} is more than 0% and at most 100%")
        return Share(share)
    try:
        return read_size(value)
    except ValueError as error:
        raise ValueError(f"{error}, or as a share of {whole}: {example}") from None


def _read_names(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _read_options(value: Any) -> dict[str, str]:
    """Read pairs; what is wrong is said without the values, since secrets are among them."""
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("{") else _read_pairs(value)
    if not isinstance(value, dict) or not all(isinstance(each, str | int | float) for each in value.values()):
        raise ValueError("give pairs: endpoint=https://…,region=…")
    return {key: str(each).lower() if isinstance(each, bool) else str(each) for key, each in value.items()}


def _read_pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _read_names(text)]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError("give pairs: endpoint=https://…,region=…")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _read_listen(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        parts = urlsplit(f"//{value.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != value.strip() or "@" in parts.netloc:
        raise ValueError(
            "give HOST:PORT, such as 127.0.0.1:50051, 0.0.0.0:50051 or [::]:50051; port 0 takes a free one"
        )
    return host, port


_Place = Annotated[Path, AfterValidator(_absolute)]


class Settings(BaseSettings):
    """What a sidecar is started with.

    Raises
    ------
    InvalidArgument
        When a value is not usable; the sentence names the key and where it was read.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid", arbitrary_types_allowed=True)

    root: _Place = Field(default_factory=lambda: _absolute(Path("~/.local/share/alluxio-lance")))
    """The folder of the catalog (SQLite) and the tables."""
    catalog: str = ""
    """The database URL of the catalog; by default ``catalog.db`` in the root."""
    store: str = ""
    """Where the tables are: ``alluxio://HOST:19998/FOLDER?proxy=39999``; by default the folder ``data`` in the root."""
    cold: str = ""
    """The cold tier, for archived versions: a folder, or ``s3://BUCKET/PREFIX``; by default ``cold`` in the root."""
    cold_options: Annotated[dict[str, str], NoDecode, BeforeValidator(_read_options)] = Field(
        default_factory=dict, repr=False
    )
    """How to reach a bucket: ``endpoint``, ``region``, ``access_key_id``, ``secret_access_key``, ``session_token``,
    ``allow_http``, ``virtual_hosted_style_request``, ``retry_timeout``; what is missing comes from the usual ``AWS_*``.
    In the environment as ``KEY=VALUE,KEY=VALUE`` or as JSON."""
    run_dir: _Place = Field(default_factory=default_run_folder)
    """The folder of the sockets; private to this user."""
    node: str = Field(default_factory=socket.gethostname, min_length=1)
    """The name of this node in the catalog."""
    memory_budget: Annotated[int | Share | None, BeforeValidator(_read_budget)] = None
    """Bytes that hot versions may take: a size, or a share of the node's memory; None lets the sidecar decide."""
    disk_dir: _Place | None = None
    """The folder of the disk tier, this node's alone: segments of hot versions, to have them back without the store; by
    default ``disk`` in the root."""
    disk_budget: Annotated[int | Share | None, BeforeValidator(_read_disk_budget)] = None
    """Bytes that it may take: a size, or a share of what is free there at the start; 0: it keeps nothing. By default 10 %
    where the tables are in Alluxio, and nothing where they lie on this node's disk anyway."""
    stream_from: Literal["disk", "memory"] = "disk"
    """Where readers of windows find units that lie in the disk tier: mapped from its files, or copied into shared memory."""
    files: str = ""
    """The Alluxio of plain files, ``alluxio:///PATH``, as in ``store`` but without a folder; by default the one of
    ``store``."""
    shard_bytes: Annotated[int, BeforeValidator(read_size)] = 256 << 20
    """About how large a segment gets."""
    prefetch: Literal["active", "none"] = "active"
    """Make active versions hot as soon as the pointer moves, or only when somebody opens them."""
    keep_previous: int = Field(default=1, ge=0)
    """How many versions that were active before stay hot, for instant rollback."""
    lease_ttl: float = Field(default=15.0, ge=0.1)
    """Seconds that the catalog keeps the leases of a sidecar that has died."""
    lease_pending: float = Field(default=30.0, gt=0)
    """Seconds that a lease waits for its reader to come to the door."""
    janitor_interval: float = Field(default=3600.0, ge=0)
    """Seconds between two rounds through the policies, by the one janitor of the cluster; 0: this node has none."""
    allow_users: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_names)] = ()
    """Users beside the sidecar's own and root who may connect; the rules say what they may do."""
    listen: Annotated[tuple[str, int] | None, NoDecode, BeforeValidator(_read_listen)] = None
    """``HOST:PORT`` for callers over the network, who need a token; by default none. Without TLS only on loopback."""
    tls_certificate: _Place | None = None
    """The certificate (chain) of ``listen``, PEM; a renewed one is taken without a restart."""
    tls_key: _Place | None = None
    """Its private key, PEM, without a password."""
    tls_client_ca: _Place | None = None
    """Who signs the certificates that callers must show, PEM; by default they need none."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _sentence(error, values) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the file below the environment, and leave out sources that nobody asked for."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_file(_find_file()))

    @property
    def catalog_url(self) -> str:
        """The database URL of the catalog."""
        return self.catalog or f"sqlite:///{self.root / 'catalog.db'}"

    @property
    def disk_folder(self) -> Path:
        """The folder of the disk tier."""
        return self.disk_dir or self.root / "disk"

    @property
    def disk_share(self) -> int | Share:
        """What the disk tier may take: bytes, 0 for none, or a share of the free disk."""
        if self.disk_budget is None:
            return Share(_DISK_SHARE) if self.store else 0
        return self.disk_budget


def _find_file() -> Path | None:
    named = os.environ.get(f"{_PREFIX}CONFIG")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise InvalidArgument(f"{_PREFIX}CONFIG names {path}, and there is no such file - correct or unset it")
        return path
    candidates = (Path(_FILE), Path("~/.config/alluxio-lance").expanduser() / _FILE)
    return next((path for path in candidates if path.is_file()), None)


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path.absolute()} is no TOML: {error}") from None
    except OSError as error:
        raise InvalidArgument(f"{path.absolute()} cannot be read ({error.strerror})") from None


def _sentence(error: ValidationError, values: dict[str, Any]) -> InvalidArgument:
    first = error.errors(include_url=False, include_context=False)[0]
    key = str(first["loc"][0])
    why = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return InvalidArgument(
            f"{_where(key, values)} has a key {key!r}, which there is none of - the keys are "
            f"{', '.join(sorted(Settings.model_fields))}",
            key=key,
        )
    shown = "…" if key == "cold_options" else repr(first["input"])
    return InvalidArgument(f"{key} = {shown} ({_where(key, values)}) is not usable: {why}", key=key)


def _where(key: str, values: dict[str, Any]) -> str:
    if key in values:
        return "an argument"
    name = f"{_PREFIX}{key.upper()}"
    return (
        f"the environment variable {name}"
        if name in os.environ
        else f"the file {_absolute(_find_file() or Path(_FILE))}"
    )
