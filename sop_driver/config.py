"""Where things lie: the driver's home, sop.yml and the fleet's facts."""

from __future__ import annotations

import contextlib
import os
import tempfile
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sop_driver.errors import Usage
from sop_driver.note import opened_plain

RESERVED = (
    "www", "mail", "webmail", "smtp", "imap", "pop", "pop3", "mx", "mx[0-9]*", "ns", "ns[0-9]*", "dns", "ftp",
    "autodiscover", "autoconfig", "wpad", "isatap", "mta-sts", "localhost", "localdomain", "broadcasthost",
)  # names that mail programs, browsers or resolvers give a meaning of their own

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Agenda(Strict):
    pattern: str = "{classification}/{number}/{unit}/{year}"
    classification: str
    unit: str

    def text(self, number: int, year: int) -> str:
        return self.pattern.format(classification=self.classification, number=number, unit=self.unit, year=year)

    @field_validator("pattern")
    @classmethod
    def _usable(cls, value: str) -> str:
        try:
            value.format(classification="", number=1, unit="", year=1)
        except (LookupError, ValueError) as error:
            raise ValueError(f"{value!r} knows {{classification}}, {{number}}, {{unit}} and {{year}}") from error
        if "{number}" not in value or "{year}" not in value:
            raise ValueError(f"{value!r} needs {{number}} and {{year}}, or agenda numbers are not unique")
        return value


class NamePolicy(Strict):
    domain: str
    reserved: tuple[str, ...] = RESERVED
    zones: tuple[str, ...] = ("go.id", "desa.id")  # directly below these an agency may have a zone of its own


class Config(Strict):
    inventory: str
    agenda: Agenda
    name_policy: NamePolicy
    sop: str | None = None
    place: str | None = Field(default=None, alias="register")  # pydantic has its own `register`
    witnesses: tuple[Annotated[str, Field(pattern=r"^[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$")], ...] = ()
    timezone: str = "Asia/Makassar"

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (LookupError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone this machine knows (package tzdata)") from error
        return value


class Address(BaseModel):
    """The public side of a host or of a place in the pool; the inside is the playbooks' affair."""

    ipv4: IPv4Address
    ipv6: IPv6Address | None = None


class FleetFacts(BaseModel):
    """The part of fleet.yml that placing a website needs; the rest of the file is the playbooks'."""

    domain: str
    web: dict[str, Address] = Field(min_length=1)
    database: dict[str, Any] = {}
    pool: list[Address] = []


class Home:
    """The driver's state on disk, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.register, self.desired, self.lock = path / "register.db", path / "desired.json", path / "run.lock"
        self.evidence, self.runs, self.records = path / "evidence", path / "runs", path / "records"

    def make(self) -> Home:
        for folder in (self.path, self.evidence, self.runs, self.records):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def witnessed(self) -> list[Path]:
        """Checkpoints that others signed. What a killed command had half written begins with a point."""
        return sorted((self.path / "witnessed").glob("[!.]*"))


def project_root() -> Path:
    """Where ansible.cfg and playbooks/ lie: SOP_PROJECT, or the folder that holds this package."""
    return Path(os.environ.get("SOP_PROJECT") or Path(__file__).resolve().parent.parent).resolve()


def find_home(given: str | None, project: Path) -> Home:
    if given or os.environ.get("SOP_HOME"):
        return Home(Path(given or os.environ["SOP_HOME"]).resolve())
    lab = project / ".lab/sop"  # `.lab` itself is on each machine that was bootstrapped
    return Home(lab if lab.is_dir() else Path("/var/lib/sop"))


def find_register(config: Config, home: Home) -> str:
    """The register's URL or path: SOP_REGISTER, sop.yml, or a file in the driver's home."""
    return os.environ.get("SOP_REGISTER") or config.place or str(home.register)


def find_config(given: str | None, project: Path) -> Path:
    return Path(given or os.environ.get("SOP_CONFIG") or project / "inventories/lab/sop.yml").resolve()


def sop_file(project: Path, config: Config) -> Path:
    """The SOP's data file: the one that sop.yml names, below the project, or the one that comes with the driver."""
    return project / config.sop if config.sop else Path(__file__).parent / "data/sop-website-2024.yml"


def from_yaml(text: str) -> Any:
    """Plain values, by libyaml: PyYAML's reader in Python takes longer than all else that a step reads."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def load_yaml(path: Path) -> Any:
    try:
        return from_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Usage("this file does not exist", str(path), "make it, or name another by --config") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Usage(f"not readable as YAML: {' '.join(str(error).split())}", str(path), "correct the file") from error


def load(model: type[Model], value: Any, where: Path) -> Model:
    """Validate `value` as `model`. Raises Usage with every fault, each with its place."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Usage(faults, str(where), "correct these fields") from error


def load_config(path: Path) -> Config:
    return load(Config, load_yaml(path), path)


def load_facts(project: Path, config: Config) -> FleetFacts:
    """The fleet's facts of the configured inventory. Raises Usage, also where they speak of another domain."""
    path = project / config.inventory / "group_vars/all/fleet.yml"
    value = load_yaml(path)
    facts = load(FleetFacts, value.get("fleet") if isinstance(value, dict) else None, path)
    if facts.domain != config.name_policy.domain:
        raise Usage(f"the fleet serves {facts.domain}, sop.yml lets names of {config.name_policy.domain} through",
                    str(path), "write the same domain in both")
    return facts


def to_lock(path: Path) -> IO[str]:
    """A file to hold a lock on, for its owner alone, an older one too: whoever can open one can hold it."""
    handle = opened_plain(path, os.O_RDWR | os.O_CREAT)
    with contextlib.suppress(PermissionError):  # another account's
        os.fchmod(handle, 0o600)
    return os.fdopen(handle, "r+")


def settle(folder: Path) -> None:
    """Have the names in a folder on the disk: until then a power cut may take a new one away again."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file as a whole, on the disk before it has its name, and its name there in the end."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
        settle(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise