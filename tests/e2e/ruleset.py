"""A server's ruleset as nft lists it, without what differs from release to release and from load to load."""

import re

# Without a list of protocols nft writes their numbers, and an older one has no name for a priority at every hook.
SAME = {"l4proto { 6, 17 }": "l4proto { tcp, udp }", "output priority -100": "output priority dstnat"}


def plain(listing: str) -> str:
    for one, other in SAME.items():
        listing = listing.replace(one, other)
    return listing


def tables(listing: str) -> list[list[str]]:
    """The words of each table, in the tables' own order whichever was loaded first, and of each set in order."""
    listing = re.sub(r"elements = \{(.*?)\}", _sorted, plain(listing), flags=re.DOTALL)
    return [table.split() for table in sorted(re.split(r"^(?=table )", listing, flags=re.MULTILINE)) if table.strip()]


def _sorted(elements: re.Match[str]) -> str:
    return "elements = " + ", ".join(sorted(re.split(r",\s*", elements[1].strip())))
