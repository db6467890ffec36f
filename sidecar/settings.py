"""The settings of a node: defaults for a laptop, overridden by ``alluxio-lance.toml``, then ``ALLUXIO_LANCE_*``, then arguments."""

from __future__ import annotations

import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

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

__all__ = ["Settings", "Share", "read_size"]

_PREFIX: Final = "ALLUXIO_LANCE_"
_FILE: Final = "alluxio-lance.toml"
_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}ib": 1 << 10 * (power + 1) for power, letter in enumerate("kmgt")},
    **{f"{letter}b": 1000 ** (power + 1) for power, letter in enumerate("kmgt")},
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class Share(float):
    """A share of the memory that the node has, above 0 and at most 1."""


def read_size(value: Any) -> int:
    """Read bytes: a number, or a text such as ``512MiB``, ``4GiB`` or ``2GB``.

    Raises
    ------
    ValueError
        When it is neither.
    """
    match = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match or match[2].lower() not in _UNITS:
        raise ValueError("give bytes as a number, or with a unit: 512MiB, 4GiB, 2GB")
    size = int(float(match[1]) * _UNITS[match[2].lower()])
    if size <= 0:
        raise ValueError("it must be more than 0 bytes")
    return size


def _read_budget(value: Any) -> int | Share | None:
    if value is None or isinstance(value, Share):
        return value
    if percent := _PERCENT.fullmatch(str(value).strip()):
        share = float(percent[1]) / 100
        if not 0 < share <= 1:
            raise ValueError("a share of the memory is more than 0% and at most 100%")
        return Share(share)
    try:
        return read_size(value)
    except ValueError as error:
        raise ValueError(f"{error}, or as a share of the memory: 60%") from None


def _read_names(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


_Folder = Annotated[Path, AfterValidator(_absolute)]


class Settings(BaseSettings):
    """What a sidecar is started with.

    Raises
    ------
    InvalidArgument
        When a value is not usable; the sentence names the key and where it was read.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid", arbitrary_types_allowed=True)

    root: _Folder = Field(default_factory=lambda: _absolute(Path("~/.local/share/alluxio-lance")))
    """The folder of the catalog (SQLite) and the tables."""
    catalog: str = ""
    """The database URL of the catalog; by default ``catalog.db`` in the root."""
    run_dir: _Folder = Field(default_factory=default_run_folder)
    """The folder of the sockets; private to this user."""
    node: str = Field(default_factory=socket.gethostname, min_length=1)
    """The name of this node in the catalog."""
    memory_budget: Annotated[int | Share | None, BeforeValidator(_read_budget)] = None
    """Bytes that hot versions may take: a size, or a share of the node's memory; None lets the sidecar decide."""
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
    allow_users: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_names)] = ()
    """Users beside the sidecar's own and root who may connect."""

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
    return InvalidArgument(f"{key} = {first['input']!r} ({_where(key, values)}) is not usable: {why}", key=key)


def _where(key: str, values: dict[str, Any]) -> str:
    if key in values:
        return "an argument"
    name = f"{_PREFIX}{key.upper()}"
    return (
        f"the environment variable {name}"
        if name in os.environ
        else f"the file {_absolute(_find_file() or Path(_FILE))}"
    )
