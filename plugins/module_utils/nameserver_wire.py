"""Speak to name servers: read a zone by transfer, send updates with prerequisites, ask for serials."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import re
from collections.abc import Iterable

from ansible.module_utils.nameserver import Edit, RRset, Zone
from ansible.module_utils.transaction import Refused, run

try:
    import dns.exception
    import dns.inet
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdata
    import dns.rdatatype
    import dns.tsig
    import dns.update
    import dns.zone
    PRESENT = True
except ImportError:
    PRESENT = False

KEY = re.compile(
    r'key\s+"?([\w.-]+)"?\s*\{\s*algorithm\s+"?([\w-]+)"?\s*;\s*secret\s+"([A-Za-z0-9+/=]+)"\s*;\s*\}\s*;', re.ASCII
)
# Types that a signing server keeps by itself, at any name.
SIGNING = {"RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY", "TYPE65534"}
KEY_MEND = "run the set-up of the servers (playbooks/servers.yml), then `systemctl reload named`"
# Values that dig and dnspython are known to spell alike.
ALIKE = {"A": re.compile(r"[\d.]+", re.ASCII), "TXT": re.compile(r'"[\w =.-]{1,255}"', re.ASCII)}
ANSWER = 10.0  # seconds for one answer
TRANSFER = 60.0  # seconds for a whole zone
Row = tuple[str, int, str, list[str]]  # name with or without its last dot, time to live, type, values


class Unanswered(Refused):
    """The server did not answer, so that it is unknown whether it did what it was asked."""


class Rejected(Refused):
    """The server took none of an update because of what it says; another update may well be taken."""


class Primary:
    """The primary name server, asked under the update key. All methods raise Refused."""

    def __init__(self, address: str, key_file: str) -> None:
        if not PRESENT:
            raise Refused("python3-dnspython is not installed", "run the set-up of the servers (playbooks/servers.yml)")
        self.address, self.key_file = address, key_file
        try:
            match = KEY.search(pathlib.Path(key_file).read_text())
        except OSError as error:
            what = f"{key_file} could not be read: {error.strerror}"
            raise Refused(what, "run the set-up of the servers (playbooks/servers.yml)") from error
        if match is None:
            raise Refused(f"{key_file} holds no TSIG key", "let tsig-keygen write it anew and reload named")
        name, algorithm, secret = match.groups()
        self.key = dns.tsig.Key(name, secret, algorithm)
        self.keyring = {self.key.name: self.key}
        self.soa: dict[str, object] = {}

    def read(self, zone: str) -> tuple[Zone, int]:
        """A zone's records without those that signing makes, and its serial. An SOA record's value is its primary."""
        return self.listed(zone) or self.transferred(zone)

    def listed(self, zone: str) -> tuple[Zone, int] | None:
        """As `read`, but by dig, which needs a seventh of dnspython's time; None where it does not give all of it."""
        way = ["-k", self.key_file, "+noall", "+answer", f"+time={ANSWER:.0f}", "+tries=1"]
        with contextlib.suppress(Refused, dns.exception.DNSException, ValueError):
            lines = run(["dig", f"@{self.address}", *way, zone, "AXFR"], timeout=TRANSFER).splitlines()
            rows = [line.split(None, 4) for line in lines]
            # It tells what is amiss in comments, and a whole transfer ends with the record that it began with.
            whole = len(rows) > 1 and rows[0] == rows[-1] and all(len(row) == 5 and row[0][0] != ";" for row in rows)
            if whole and rows[0][3] == "SOA":
                return self.parsed(zone, ((name, int(ttl), kind, [_normal(kind, value)])
                                          for name, ttl, _, kind, value in rows if kind not in SIGNING))
        return None

    def transferred(self, zone: str) -> tuple[Zone, int]:
        """As `read`, by dnspython, which also knows why a zone cannot be read."""
        # Not inbound_xfr: most records are signatures, and half its time would go into making a zone of them.
        messages = dns.query.xfr(self.address, zone, keyring=self.keyring, keyalgorithm=self.key.algorithm,
                                 relativize=False, timeout=ANSWER, lifetime=TRANSFER)
        try:
            content = [row for message in messages for rrset in message.answer for row in _rows(rrset.name, rrset)]
        except (dns.tsig.PeerError, dns.tsig.BadSignature) as error:
            raise Refused(f"the server does not take the key for zone {zone}: {_said(error)}", KEY_MEND) from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise Refused(
                f"zone {zone} could not be read at {self.address}: {_said(error)}",
                "check that named runs, serves the zone and knows the key websites-update: `journalctl -u named`",
            ) from error
        return self.parsed(zone, content)

    def parse(self, zone: str, text: str) -> tuple[Zone, int]:
        """A zone that is yet to be served, as `read` will give it. Raises Refused where the text is no zone."""
        try:
            sets = dns.zone.from_text(text, zone, relativize=False).iterate_rdatasets()
            return self.parsed(zone, [row for name, rdataset in sets for row in _rows(name, rdataset)])
        except (dns.exception.DNSException, ValueError) as error:
            what = f"what there is of zone {zone} is no zone: {_said(error)}"
            raise Refused(what, "move its file away on the primary, or mend it") from error

    def parsed(self, zone: str, rows: Iterable[Row]) -> tuple[Zone, int]:
        """A zone as `read` gives it, from its rows; one set may come in parts."""
        found: Zone = {}
        for name, ttl, kind, texts in rows:
            values = frozenset(texts)
            if kind == "SOA":
                self.soa[zone] = dns.rdata.from_text("IN", "SOA", *values)
                values = frozenset([self.soa[zone].mname.to_text()])
            sets = found.setdefault(name.rstrip(".").lower(), {})
            sets[kind] = RRset(ttl, values | sets[kind].values if kind in sets else values)
        return found, self.soa[zone].serial

    def serial(self, zone: str) -> int:
        found = serial(self.address, zone)
        if found is None:
            raise Unanswered(f"{self.address} does not answer for zone {zone}", "look at `journalctl -u named`")
        return found

    def update(self, zone: str, edits: list[Edit]) -> None:
        """Send the edits; the server does all of them or none."""
        message = self.message(zone, edits)
        try:
            answer = dns.query.tcp(message, self.address, timeout=ANSWER)
        except dns.tsig.PeerError as error:
            raise Refused(f"the server does not take the key for zone {zone}: {_said(error)}", KEY_MEND) from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            what = f"no answer to the update of zone {zone}: {_said(error)}"
            raise Unanswered(what, "check that named runs: `journalctl -u named`") from error
        code = dns.rcode.to_text(answer.rcode())
        if code in ("YXDOMAIN", "YXRRSET", "NXDOMAIN", "NXRRSET"):
            raise Rejected(f"zone {zone} was changed by somebody else during the run ({code})", "run again")
        if code in ("REFUSED", "NOTAUTH"):
            what = f"the server lets nobody update zone {zone} with this key from here: {code}"
            raise Refused(what, "its configuration was changed: run the set-up of the servers (playbooks/servers.yml)")
        if code != "NOERROR":
            what = f"the server did not take the update of zone {zone}: {code}"
            raise Rejected(what, "look at `journalctl -u named`")

    def message(self, zone: str, edits: list[Edit]) -> dns.update.UpdateMessage:
        """What was read as prerequisites, then the edits in their order."""
        message = dns.update.UpdateMessage(zone, keyring=self.keyring)
        for edit in edits:
            self._require(message, edit)
            self._change(message, zone, edit)
        return message

    def _require(self, message: dns.update.UpdateMessage, edit: Edit) -> None:
        for name in sorted(edit.fresh):
            message.absent(f"{name}.")
        for name, kind in sorted({*edit.before, *edit.after}):
            if kind == "SOA" or name in edit.fresh:
                continue
            if (name, kind) in edit.before:
                message.present(f"{name}.", *_rdatas(kind, edit.before[name, kind]))
            else:
                message.absent(f"{name}.", kind)

    def _change(self, message: dns.update.UpdateMessage, zone: str, edit: Edit) -> None:
        """Add all that must be, then delete what must go record by record: a server keeps an apex' NS set from less.

        A CNAME record is the exception: a server silently adds nothing beside one, nor one beside others (RFC 2136).
        """
        if any(kind == "CNAME" for _, kind in {*edit.before, *edit.after}):
            self._delete(message, edit)
            self._add(message, zone, edit)
        else:
            self._add(message, zone, edit)
            self._delete(message, edit)

    def _add(self, message: dns.update.UpdateMessage, zone: str, edit: Edit) -> None:
        for (name, kind), rrset in sorted(edit.after.items()):
            if edit.before.get((name, kind)) == rrset:
                continue
            if kind == "SOA":
                message.add(f"{name}.", rrset.ttl, self._soa(zone, next(iter(rrset.values))))
            else:
                for rdata in _rdatas(kind, rrset):
                    message.add(f"{name}.", rrset.ttl, rdata)

    def _delete(self, message: dns.update.UpdateMessage, edit: Edit) -> None:
        for (name, kind), rrset in sorted(edit.before.items()):
            gone = rrset.values - edit.after.get((name, kind), RRset(0, frozenset())).values
            if gone and kind != "SOA":
                for rdata in _rdatas(kind, RRset(0, gone)):
                    message.delete(f"{name}.", rdata)

    def _soa(self, zone: str, primary: str) -> dns.rdata.Rdata:
        """The zone's own SOA record under another primary; servers only take one with a later serial."""
        later = self.serial(zone) % 0xFFFFFFFF + 1
        return self.soa[zone].replace(mname=dns.name.from_text(primary), serial=later)


def serial(address: str, zone: str, timeout: float = 1.0) -> int | None:
    """A zone's serial at a server; None where it does not answer or does not have the zone."""
    query = dns.message.make_query(zone, "SOA")
    query.flags = 0
    with contextlib.suppress(dns.exception.DNSException, OSError):
        answer = dns.query.udp(query, address, timeout=timeout)
        for rrset in answer.answer:
            if rrset.rdtype == dns.rdatatype.SOA:
                return int(rrset[0].serial)
    return None


def follows(address: str, zone: str, wanted: int) -> bool:
    """Whether a server has a zone at a serial or a later one, by RFC 1982: numbers run in a circle."""
    found = serial(address, zone)
    return found is not None and (found - wanted) % 2**32 < 2**31


def _rows(name: dns.name.Name, rdataset: dns.rdataset.Rdataset) -> list[Row]:
    """A set of records as a row; none of a type that signing makes."""
    kind = dns.rdatatype.to_text(rdataset.rdtype)
    return [] if kind in SIGNING else [(name.to_text(), rdataset.ttl, kind, [rdata.to_text() for rdata in rdataset])]


@functools.cache
def _normal(kind: str, value: str) -> str:
    """A value in dnspython's spelling; most are spelled alike or are in the zone many times, and cost nothing."""
    return value if kind in ALIKE and ALIKE[kind].fullmatch(value) else dns.rdata.from_text("IN", kind, value).to_text()


def _rdatas(kind: str, rrset: RRset) -> list[dns.rdata.Rdata]:
    return [dns.rdata.from_text("IN", kind, value) for value in sorted(rrset.values)]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
