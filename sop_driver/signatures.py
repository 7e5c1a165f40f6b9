"""People's signatures over entries (SSHSIG), made and checked by OpenSSH's ssh-keygen (9.1 or newer)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sop_driver.config import write_atomic
from sop_driver.directory import Directory
from sop_driver.errors import Usage
from sop_driver.outsider import allowed_signers
from sop_driver.proof import ARMOR, NAMESPACE
from sop_driver.sheet import FORMAT, START
from sop_driver.statement import STATEMENT

Sign = Callable[[str, str], str | None]  # (who, statement) → signature; None where it is to be made elsewhere


class Pdf(NamedTuple):
    """A step's signature within a PDF: where to write the sheet, or the signed one and lists of revocation."""

    prepare: Path | None = None
    signed: Path | None = None
    crls: Path | None = None


@dataclass(frozen=True)
class Elsewhere:
    """Signatures of which one at least is made on another computer, over the statement that was written for it."""

    sign: Sign
    prepare: Path | None = None  # where that statement is

    def __call__(self, who: str, message: str) -> str | None:
        return self.sign(who, message)


class Unsigned(Usage):
    """Whose signature is given in no way."""

    def __init__(self, who: Sequence[str], mend: str) -> None:
        names, are = "'s and ".join(who), "signatures are" if len(who) > 1 else "signature is"
        super().__init__(f"{names}'s {are} missing", "how it is signed", mend)
        self.mend = mend


PATIENCE = 120  # seconds for a passphrase, or a touch on a hardware key


def _keygen(arguments: list[str], message: str, told: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["ssh-keygen", "-Y", *arguments], input=message, stdout=subprocess.PIPE, stderr=told,
                              text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError as error:
        raise Usage("ssh-keygen is not installed", "PATH", "install the package openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise Usage(f"nobody answered ssh-keygen within {PATIENCE} s", "the key", "run the command again") from error


def sign(key: Path, message: str) -> str:
    """Sign with a private key, or with the agent's where `key` is a public one. Raises Usage."""
    told = None if sys.stderr.isatty() else subprocess.PIPE  # where somebody looks, it asks for a touch itself
    done = _keygen(["sign", "-q", "-n", NAMESPACE, "-f", str(key)], message, told)
    if done.returncode != 0 or not done.stdout.startswith("-----BEGIN"):
        why = " ".join((done.stderr or "").split()) or ("no word why" if told else "ssh-keygen says above why")
        raise Usage(f"this key did not sign: {why}", str(key),
                    "name your private key, or the public one while its agent runs")
    return done.stdout


def fault(people: Directory, who: str, message: str, armored: str, time: datetime) -> str | None:
    """Why ssh-keygen does not take a signature as somebody's at a time; None where it does."""
    with tempfile.TemporaryDirectory(prefix="sop-") as folder:
        signers, signature = Path(folder, "allowed_signers"), Path(folder, "signature")
        signers.write_text(allowed_signers(people))
        signature.write_text(armored)
        done = _keygen(["verify", "-f", str(signers), "-I", who, "-n", NAMESPACE, "-s", str(signature),
                        f"-Overify-time={time:%Y%m%d%H%M%SZ}"], message)
    return None if done.returncode == 0 else " ".join((done.stderr or done.stdout).split())


def pen(key: Path | None, prepare: Path | None, signature: Path | None, named: str = "") -> Sign:
    """How a command gets its signature: by a key, by what was signed elsewhere, or later (the statement is written).

    `named` is what stands before each file where several people sign.
    """
    given = [way for way in (key, prepare, signature) if way]
    if len(given) > 1:
        raise Usage("more than one of --key, --prepare and --signature", "how it is signed", "give one of them")

    def made(who: str, message: str) -> str | None:
        if prepare:
            prepared(prepare, message.encode())
            return None
        if signature:
            return _made(signature)
        return sign(key or _usual(who, named), message)

    return Elsewhere(made, prepare) if prepare or signature else made


def prepared(path: Path, octets: bytes) -> None:
    """Write what is to be signed elsewhere, over an earlier one and over nothing else. Raises Usage."""
    if path.exists() and not (path.is_file() and _ours(path.read_bytes())):
        raise Usage("another file is there already", str(path), "name a new one for what is to be signed")
    write_atomic(path, octets)


def _ours(octets: bytes) -> bool:
    """Whether a file is a statement, or its sheet that nobody has signed: a signature is appended, with an end."""
    if octets.startswith(START):
        return FORMAT.encode() in octets and octets.count(b"%%EOF") == 1
    try:
        said = json.loads(octets)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("format") == STATEMENT


def _made(elsewhere: Path) -> str:
    try:
        text = elsewhere.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage("this signature cannot be read", str(elsewhere), "name the file.sig") from error
    if not text.lstrip().startswith(ARMOR[0]):
        raise Usage("this is no SSH signature", str(elsewhere), "name the file that ssh-keygen wrote, whose name ends "
                    "with .sig")
    return text


def _usual(who: str, named: str) -> Path:
    folder = os.environ.get("SOP_KEYS")
    if not folder:
        raise Unsigned([who], f"give --key {named}KEY or --signature {named}FILE; --prepare FILE writes what is to be "
                       "signed on another computer")
    return Path(folder, who)
