"""Which addresses of the internet protocol an event may be sent to.

The failure: an endpoint's name that leads to the machine itself, to its neighbours, or to the address where a cloud hands out credentials.
Whoever may name an endpoint could read there, or act there, as we. So only public addresses are called, in whatever form they are written:
an IPv4 address inside an IPv6 one counts as itself. Whoever means a private one lists its network.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = frozenset(
    ip_address(a)
    for a in (
        "169.254.169.254",  # AWS, Google, Azure, and most others
        "fd00:ec2::254",  # AWS by IPv6
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's own agent, an address that is public by its number
    )
)
"""Where clouds tell a machine about itself, its credentials among it."""

NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""Prefixes whose last 32 bits are an IPv4 address behind a translator (RFC 6052, RFC 8215)."""

COMPATIBLE = IPv6Network("::/96")
"""The deprecated IPv4-compatible form (RFC 4291): `::127.0.0.1`."""


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """`10.0.0.0/8` and `192.0.2.7` as networks. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def refusal(address: str, allowed: Sequence[Network] = ()) -> str | None:
    """Why *address* may not be called; None where it may."""
    found = ip_address(address.partition("%")[0])
    forms = tuple(_forms(found))
    if any(form in network for form in (found, *forms) for network in allowed if form.version == network.version):
        return None
    return next((f"{address} is {why}" for form in forms if (why := _kind(form))), None)


def _forms(address: Address) -> Iterator[Address]:
    """What is called by *address*: an IPv6 address that is another way to write an IPv4 one is that; a tunnel leads to both of its ends."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped:
        yield address.ipv4_mapped
    elif int(address) > 1 and any(address in network for network in (*NAT64, COMPATIBLE)):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield from filter(None, (address, address.sixtofour, *(address.teredo or ())))


def _kind(address: Address) -> str | None:
    """What speaks against *address*, in words."""
    if address in METADATA:
        return "where a cloud keeps credentials"
    if address.is_unspecified:
        return "no address"
    if address.is_loopback:
        return "this machine"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_private:
        return "a private address"
    if address.is_reserved or not address.is_global or (isinstance(address, IPv6Address) and address.is_site_local):
        return "no public address"
    return None
