"""People's signatures over entries (SSHSIG), made and checked by OpenSSH's ssh-keygen (9.1 or newer)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sop_driver.config import write_atomic
from sop_driver.directory import Directory
from sop_driver.errors import Usage
from sop_driver.outsider import allowed_signers
from sop_driver.proof import NAMESPACE

Sign = Callable[[str, str], str | None]  # (who, statement) → signature; None where it is to be made elsewhere


class Pdf(NamedTuple):
    """A step's signature within a PDF: where to write the sheet, or the signed one and lists of revocation."""

    prepare: Path | None = None
    signed: Path | None = None
    crls: Path | None = None


PATIENCE = 120  # seconds for a passphrase, or a touch on a hardware key


def _keygen(arguments: list[str], message: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["ssh-keygen", "-Y", *arguments], input=message, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
    except FileNotFoundError as error:
        raise Usage("ssh-keygen is not installed", "PATH", "install the package openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise Usage(f"nobody answered ssh-keygen within {PATIENCE} s", "the key", "run the command again") from error


def sign(key: Path, message: str) -> str:
    """Sign with a private key, or with the agent's where `key` is a public one. Raises Usage."""
    done = _keygen(["sign", "-q", "-n", NAMESPACE, "-f", str(key)], message)
    if done.returncode != 0 or not done.stdout.startswith("-----BEGIN"):
        raise Usage(f"this key did not sign: {' '.join(done.stderr.split()) or 'no word why'}", str(key),
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


def pen(key: Path | None, prepare: Path | None, signature: Path | None) -> Sign:
    """How a command gets its signature: by a key, by what was signed elsewhere, or later (the statement is written)."""
    given = [way for way in (key, prepare, signature) if way]
    if len(given) > 1:
        raise Usage("more than one of --key, --prepare and --signature", "how it is signed", "give one of them")

    def made(who: str, message: str) -> str | None:
        if prepare:
            write_atomic(prepare, message.encode())
            return None
        if signature:
            try:
                return signature.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise Usage("this signature cannot be read", str(signature), "name the file.sig") from error
        return sign(key or _usual(who), message)

    return made


def _usual(who: str) -> Path:
    folder = os.environ.get("SOP_KEYS")
    if not folder:
        raise Usage(f"{who}'s signature is missing", "how it is signed",
                    "give --key KEY, or --prepare FILE to sign it on another computer")
    return Path(folder, who)
