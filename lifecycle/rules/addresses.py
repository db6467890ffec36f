"""Which addresses the server may call because a rule says so.

A rule's URL comes from an admin, but what answers at it need not be his: a name can lead to the inside of the network, or
to the address where a cloud hands out its keys. So an address is judged after the name is resolved, and whoever calls
connects to the very address that was judged.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

__all__ = ["Address", "check_url", "refusal"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
_DEPRECATED: Final = tuple(map(ipaddress.ip_network, ("fec0::/10", "192.88.99.0/24", "3fff::/20")))
"""Site-local networks and the relays of 6to4, which routers may still know, and documentation: public to `ipaddress`."""
_LONGEST: Final = 2000


def check_url(url: str, *, allow_private: bool) -> SplitResult:
    """Read a URL that a rule names.

    Raises
    ------
    ValueError
        Saying what is wrong with it.
    """
    if len(url) > _LONGEST or any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("no URL: it is too long, or has blanks in it")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an address like https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("leave user and password out: name a secret_env to sign with")
    if parts.fragment:
        raise ValueError("leave the part behind # out: it is never sent")
    if parts.port == 0:
        raise ValueError("port 0 is none")
    try:
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return parts
    if reason := refusal(literal, allow_private=allow_private):
        raise ValueError(reason)
    return parts


def refusal(address: Address, *, allow_private: bool) -> str | None:
    """Say why an address must not be called; None when it may be.

    With ``allow_private`` private networks and this host may be; link-local addresses, where clouds hand out their keys,
    never.
    """
    inner = _embedded(address)
    if inner is not None:
        return refusal(inner, allow_private=allow_private)
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return f"{address} is an address that no rule may name (link-local, metadata service, multicast or none)"
    if address.is_reserved and not address.is_private:
        return f"{address} is a reserved address"
    is_public = address.is_global and not any(address in network for network in _DEPRECATED)
    if not is_public and not allow_private:
        return f"{address} is not a public address: say allow_private = true if it is meant"
    return None


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, by whichever of the ways there are."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
