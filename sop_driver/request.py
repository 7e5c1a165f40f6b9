"""A request file: read, and hostile until every field of it is validated."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from sop_driver import plain_yaml
from sop_driver.config import NamePolicy, Strict
from sop_driver.errors import Usage
from sop_driver.flow import STATES
from sop_driver.statement import SEALED, form_digest
from sop_driver.zone_records import Record, within
from sop_driver.zone_records import faults as record_faults

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, bidirectional and unassigned: what the eye does not see


# What is a letter, a mark or a sign by its category, and blank: fillers, selectors of variants, Braille without dots.
BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
                   "\U000e0100-\U000e01ef]")
GAP = re.compile(r" {2,}|[^\S ]")  # by which one line of a sheet can look like two


def plain_text(value: str) -> str:
    """A text as somebody gives it. Raises ValueError for what the eye does not see, wide gaps, and nothing at all."""
    text = _kept_text(value)
    if blank := BLANK.search(text):
        raise ValueError(f"holds the invisible character U+{ord(blank[0]):04X} at place {blank.start() + 1}")
    if gap := GAP.search(text):
        what = "several spaces in a row" if gap[0].startswith(" ") else f"the space character U+{ord(gap[0]):04X}"
        raise ValueError(f"holds {what} at place {gap.start() + 1}: one plain space is enough")
    return text


def _kept_text(value: str) -> str:
    """The text as it is kept. Raises ValueError for control characters and for nothing at all."""
    for place, character in enumerate(value):
        if unicodedata.category(character) in HIDDEN:
            raise ValueError(f"holds the control or invisible character U+{ord(character):04X} at place {place + 1}")
    if not value.strip() or len(value) > 2000:
        raise ValueError("is empty or longer than 2,000 characters")
    return unicodedata.normalize("NFC", value.strip())


def _text(value: str, info: ValidationInfo) -> str:
    """What is in the register already stays readable: a form of before could hold more."""
    return plain_text(value) if isinstance(info.context, NamePolicy) else _kept_text(value)


def _path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/-]+", value):
        raise ValueError(f"{value!r} may hold only letters, digits, `.`, `_`, `-` and `/`")
    if any(part in ("", ".", "..") or part.startswith("-") for part in value.split("/")):
        raise ValueError(f"{value!r} must be a relative path without `..`, `.`, `//` or a name that begins with `-`")
    return value


def name_faults(name: str, policy: NamePolicy, zone: str | None = None) -> list[str]:
    """Everything that is wrong with a website's name, each as its own sentence; an empty list for a good name.

    A good name lies below the government's domain, or in the zone that the agency brings.
    """
    if any(unicodedata.category(c) in HIDDEN or c.isspace() for c in name):
        return [f"{name!r} holds a space, a line break or a control character"]
    if not name.isascii():
        return [f"{name!r} holds letters outside a-z, which can look like another agency's name"]
    faults = []
    if name != name.lower():
        faults.append(f"{name} holds upper case letters; write {name.lower()}")
        name = name.lower()
    if name.endswith("."):
        faults.append(f"{name} ends with a dot")
        name = name.rstrip(".")
    if len(name) > 253:
        faults.append(f"the name has {len(name)} characters, 253 is the most")
    if zone and name == zone:
        return faults
    parent = zone if zone and name.endswith("." + zone) else policy.domain
    if not name.endswith("." + parent):
        return [*faults, f"{name} does not lie below {policy.domain}{f' or in {zone}' if zone else ''}"]
    labels = name.removesuffix("." + parent).split(".")
    for place, label in enumerate(labels):
        faults += _label_faults(label)
        is_www_of_a_site = label == "www" and place == 0 and (len(labels) > 1 or parent == zone)
        if any(fnmatch.fnmatchcase(label, pattern) for pattern in policy.reserved) and not is_www_of_a_site:
            faults.append(f"{label!r} is reserved")
    return faults


def zone_faults(zone: str, policy: NamePolicy) -> list[str]:
    """What is wrong with a zone that an agency brings; an empty list for a good one."""
    label, _, parent = zone.partition(".")
    if not zone.isascii() or parent not in policy.zones:
        return [f"{zone!r} is not one name directly below {' or '.join(policy.zones)}, where agencies have zones"]
    if zone == policy.domain or policy.domain.endswith("." + zone):
        return [f"{zone} holds the government's own domain"]
    return _label_faults(label)


def _label_faults(label: str) -> list[str]:
    checks = {
        "two dots follow each other, or the name begins with one": not label,
        f"{label!r} has {len(label)} characters, 63 is the most": len(label) > 63,
        f"{label!r} holds an underscore": "_" in label,
        f"{label!r} may hold only a-z, 0-9 and hyphens": bool(re.search(r"[^a-z0-9_-]", label)),
        f"{label!r} begins or ends with a hyphen": label.startswith("-") or label.endswith("-"),
        f"{label!r} is an encoded international name (xn--)": label.startswith("xn--"),
        f"{label!r} has `--` in places 3 and 4": label[2:4] == "--" and not label.startswith("xn--"),
        f"{label!r} is made of digits only": label.isdigit(),
    }
    return [fault for fault, found in checks.items() if found]


Text = Annotated[str, Field(max_length=200), AfterValidator(_text)]
LongText = Annotated[str, Field(max_length=2000), AfterValidator(_text)]
RelativePath = Annotated[str, Field(max_length=200), AfterValidator(_path)]


class Letter(Strict):
    number: Text
    date: dt.date


class Contact(Strict):
    name: Text
    email: Annotated[str, Field(max_length=254, pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")]
    phone: Annotated[str, Field(pattern=r"^\+?[0-9][0-9 ()-]{3,24}$")] | None = None


class Probe(Strict):
    path: Annotated[str, Field(max_length=200, pattern=r"^/[A-Za-z0-9._~/%?=&+,:;@-]*$")] = "/"
    contains: Text | None = None

    @field_validator("path")
    @classmethod
    def _stays_on_the_site(cls, value: str) -> str:
        if value.startswith("//") or ".." in value.split("?")[0].split("/"):
            raise ValueError(f"{value!r} must be a path on the website itself")
        return value


class Release(Strict):
    archive: RelativePath
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


COMMON = {"agency", "unit", "letter", "requester", "kind", "zone", "name", "purpose", "contact"}


class Request(Strict):
    """What an agency asks for, as the register keeps it: the whole description of the website, on an update too, or a
    change of its state. Personal data are sealed (in the first registers, plain)."""

    agency: Text = Field(description="the agency (PD) that asks, e.g. Dinas Kesehatan")
    unit: Text = Field(description="its unit that answers for the website")
    letter: Letter
    requester: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = Field(
        None, description="the agency's id in the register (`sop actors list`)")
    kind: Literal["create", "update", "suspend", "resume"] = Field(
        description="suspend and resume name the website (with its zone) and why (purpose), nothing of its description")
    zone: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="a domain of the agency's own that these name servers are to serve, e.g. rsud-contoh.go.id")
    name: str = Field(max_length=300, description="the website's full name, below the government's domain or in `zone`")
    aliases: list[str] = Field([], max_length=20)
    records: list[Record] = Field([], description="DNS records at the website's name, below it, or in `zone`")
    title: Text | None = Field(None, validate_default=True)
    purpose: LongText
    contact: Contact | Annotated[str, Field(pattern=f"^{SEALED}[0-9a-f]{{64}}$")]
    runtime: Literal["static", "php", "proxy"] | None = Field(None, validate_default=True)
    php_version: Annotated[str, Field(pattern=r"^[0-9]\.[0-9]{1,2}$")] | None = None
    program: Literal["python3", "node"] | None = Field(None, description="what runs a proxy website's application")
    entry: RelativePath | None = Field(None, description="its first file; it serves HTTP on the socket named by SOCKET")
    database: Literal["mariadb", "postgresql"] | None = None
    size: Literal["small", "medium", "large"] = "small"
    waf: Literal["detect", "block"] = Field(
        "detect", description="what happens to requests that look like attacks: they are logged, or refused")
    document_root: RelativePath | Literal[""] = ""
    writable: list[RelativePath] = Field([], max_length=50)
    setup_script: RelativePath | None = None
    probe: Probe = Probe()
    address: Literal["shared", "own"] = "shared"
    release: Release | None = Field(None, validate_default=True)

    @field_validator("title", "runtime", "release")
    @classmethod
    def _described(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.data.get("kind") not in STATES:
            raise ValueError("is missing: who asks for a website to be made or updated describes the whole of it")
        return value

    @field_validator("zone")
    @classmethod
    def _good_zone(cls, value: str | None, info: ValidationInfo) -> str | None:
        policy = info.context
        if value and isinstance(policy, NamePolicy) and (faults := zone_faults(value, policy)):
            raise ValueError("; ".join(faults))
        return value or None

    @field_validator("name", "aliases")
    @classmethod
    def _good_names(cls, value: str | list[str], info: ValidationInfo) -> str | list[str]:
        policy, zone = info.context, info.data.get("zone")
        names = [value] if isinstance(value, str) else value
        if not isinstance(policy, NamePolicy):
            return value
        if faults := [fault for name in names for fault in name_faults(name, policy, zone)]:
            raise ValueError("; ".join(faults))
        return value

    @field_validator("records")
    @classmethod
    def _good_records(cls, value: list[Record], info: ValidationInfo) -> list[Record]:
        name, aliases = info.data.get("name"), info.data.get("aliases", [])
        if name and (faults := record_faults(value, name, aliases, info.data.get("zone"))):
            raise ValueError("; ".join(faults))
        return value

    @model_validator(mode="after")
    def _describes_nothing(self) -> Request:
        described = {name for name, field in type(self).model_fields.items()
                     if name not in COMMON and getattr(self, name) != field.default}
        if self.kind in STATES and described:
            told = ", ".join(sorted(described))
            raise ValueError(f"a request of kind {self.kind} has no {told}: the website stays as it is described")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Request:
        if len({self.name, *self.aliases}) != 1 + len(self.aliases):
            raise ValueError("the name and the aliases repeat each other")
        if self.zone and not any(within(name, self.zone) for name in self.names):
            raise ValueError(f"no name of the website lies in its zone {self.zone}")
        if self.runtime == "static" and (self.php_version or self.database or self.setup_script or self.writable):
            raise ValueError("a static website has no php_version, database, setup_script or writable folder")
        if self.runtime == "proxy" and (self.php_version or self.document_root or not (self.program and self.entry)):
            raise ValueError("a proxy website has a program and an entry, and no php_version or document_root")
        if self.runtime != "proxy" and (self.program or self.entry):
            raise ValueError("program and entry belong to runtime: proxy")
        for folder in self.writable:
            if folder == self.document_root or self.document_root.startswith(folder + "/"):
                raise ValueError(f"the writable folder {folder!r} would make the website's own code writable")
            if any(folder.startswith(other + "/") or self.writable.count(folder) > 1 for other in self.writable):
                raise ValueError(f"the writable folder {folder!r} is named twice or lies within another")
        return self

    @property
    def branch(self) -> str:
        """The SOP's branch that it takes: what changes a website that is there is an update."""
        return "create" if self.kind == "create" else "update"

    @property
    def names(self) -> list[str]:
        return [self.name, *self.aliases]

    @property
    def digest(self) -> str:
        """What an approval binds: every field, the release's hash among them."""
        return form_digest(self.model_dump(mode="json"))


class Form(Request):
    """What an agency asks for: the whole description of the website, on an update too."""

    contact: Contact

    @field_validator("entry", "document_root", "writable", "setup_script")
    @classmethod
    def _taken_by_web_hosts(cls, value: str | list[str] | None, info: ValidationInfo) -> str | list[str] | None:
        dot, told = (r"\.?", ", or a dot before it") if info.field_name in ("entry", "document_root") else ("", "")
        part = f"{dot}[A-Za-z0-9_][A-Za-z0-9._-]*"
        for path in [value] if isinstance(value, str) else value or []:
            if path and not re.fullmatch(f"{part}(/{part})*", path):
                raise ValueError(f"each part of {path!r} must begin with a letter, a digit or `_`{told}")
        return value


def read(path: Path, policy: NamePolicy) -> Form:
    """Read and validate a request file. Raises Usage with every fault and the line it stands on."""
    value, lines = plain_yaml.load(path)
    try:
        return Form.model_validate(value, context=policy)
    except ValidationError as error:
        faults = [(plain_yaml.line(lines, e["loc"]), ".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        what = "; ".join(f"{place or 'request'} (line {line}): {_told(text)}" for line, place, text in faults)
        mend = "correct these fields; `sop schema` prints what each takes"
        raise Usage(what, f"{path}:{faults[0][0]}", mend) from error


def _told(message: str) -> str:
    return message.removeprefix("Value error, ")


def locate(request_file: Path, release: Release) -> Path:
    """The release's archive beside its request file. Raises Usage where a link leads it elsewhere."""
    folder = request_file.resolve().parent
    path = (folder / PurePosixPath(release.archive)).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise Usage(f"{release.archive} is no file beside the request", str(request_file),
                    "put the archive beside the request file and name it by its relative path")
    return path
