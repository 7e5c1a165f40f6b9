"""Tell the neighbours at once that an address lives here now; without it they use their old entry for minutes."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import struct
from collections.abc import Iterable

BROADCAST = b"\xff" * 6
ARP = 0x0806


def gratuitous_arp(mac: bytes, address: str) -> bytes:
    """An Ethernet frame with an ARP reply (RFC 5227) that says where `address` is."""
    packed = socket.inet_pton(socket.AF_INET, address)
    return (BROADCAST + mac + struct.pack("!H", ARP)
            + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac + packed + BROADCAST + packed)


def unsolicited_advertisement(mac: bytes, address: str) -> bytes:
    """An ICMPv6 neighbour advertisement (RFC 4861) with router and override set; the kernel fills in the checksum."""
    target = socket.inet_pton(socket.AF_INET6, address)
    return struct.pack("!BBHI", 136, 0, 0, 0xA0000000) + target + struct.pack("!BB", 2, 1) + mac


def announce(places: Iterable[tuple[str, str]]) -> None:
    """Announce (interface, address) pairs; an interface that cannot carry it is no error, for nothing depends on it."""
    for interface, address in places:
        with contextlib.suppress(OSError, ValueError):
            written = pathlib.Path(f"/sys/class/net/{interface}/address").read_text().strip()
            mac = bytes.fromhex(written.replace(":", ""))
            if ":" not in address:
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
                    link.bind((interface, ARP))
                    link.send(gratuitous_arp(mac, address))
            else:
                with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
                    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
                    raw.sendto(unsolicited_advertisement(mac, address),
                               ("ff02::1", 0, 0, socket.if_nametoindex(interface)))
