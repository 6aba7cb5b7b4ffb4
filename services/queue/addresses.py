"""Which addresses are public: an own list, since what `ipaddress` calls global differs between Python's patch
levels.

The networks are those of the IANA registries of special-purpose addresses (RFC 6890), whether or not something answers
there, and those behind which a cloud tells its machines their passwords.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host of a machine at Azure
        "169.254.0.0/16",  # link-local
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112: answers for private addresses
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # given back
        "3fff::/20",  # documentation
    )
)
_UNICAST = ip_network("2000::/3")  # all public IPv6 addresses are in it
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether everybody on the internet may have something at `address`."""
    ip = _reached(ip_address(address))
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return isinstance(ip, IPv4Address) or (ip in _UNICAST and not _is_tunnel(ip))


def is_within(address: str, networks: Sequence[str]) -> bool:
    """Whether `address` is in one of `networks` (CIDR)."""
    ip = _reached(ip_address(address))
    return any(ip in ip_network(network, strict=False) for network in networks)


def _reached(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for where networks translate it (RFC 4291, RFC 6052)."""
    if isinstance(ip, IPv6Address) and ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _is_tunnel(ip: IPv6Address) -> bool:
    """Whether its lower half wraps an IPv4 address (ISATAP, RFC 5214)."""
    return (int(ip) >> 32) & 0xFDFFFFFF == 0x00005EFE
