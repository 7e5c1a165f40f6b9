"""Signatures within PDFs (PAdES, as BSrE makes them), checked by pyHanko: offline, by the register's own roots.

pyHanko is imported where it is needed: it takes longer than all the rest of a command.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sop_driver import appended
from sop_driver.errors import Refused, Usage, refuse
from sop_driver.evidence import Evidence
from sop_driver.proof import canonical
from sop_driver.sheet import Signed, sheet

if TYPE_CHECKING:
    from asn1crypto.x509 import Certificate
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
    from pyhanko.sign.validation.status import PdfSignatureStatus
    from pyhanko_certvalidator import ValidationContext

MEND = ("have the sheet signed as it was prepared, and record it at once; where the request moved on, prepare it anew "
        "(--pades --prepare); docs/register.md says what the signed file must hold")
MENDS = (  # where it is not mended by signing that sheet anew
    *((part, "give the authority's lists of now, --crl FILE, or sign with them")
      for part in ("nothing says whether its certificate", "lists of revoked certificates are of another")),
    *((part, "sign with a certificate that is valid now; docs/register.md says when it is entered first")
      for part in ("its certificate was", "its certificate had")),
    ("it is made by", "let the person named sign it; where a certificate calls them otherwise, enter that first: "
                      "`sop actors replace … --certificate`"),
)
MAX_SIGNED = 16 * 1024**2
A_CENTURY = timedelta(days=36500)
IDENTITY = ("common_name", "serial_number", "organization_name")
UNCLEAR, UNKNOWN = "CERTIFICATE_CHAIN_GENERAL_FAILURE", "REVOCATION_UNKNOWN"
REASONS = {
    "REVOKED": "its certificate was revoked",
    "EXPIRED": "its certificate had expired",
    "NOT_YET_VALID": "its certificate was not valid yet",
    "OUT_OF_BOUNDS": "its certificate was not valid at that time",
    "NO_CERTIFICATE_CHAIN_FOUND": "it rests on no authority that this register trusts",
    "TRY_LATER": "the lists of revoked certificates are of another time, or the answers are",
    "CRYPTO_CONSTRAINTS_FAILURE": "its algorithms are too weak",
    "REVOKED_CA": "the authority that issued its certificate was revoked",
    UNCLEAR: "its certificate does not lead to an authority that this register trusts",
    UNKNOWN: "nothing says whether its certificate was revoked: neither the PDF nor --crl",
}


def load() -> None:
    """Import pyHanko now, so that nobody waits for that while the register is locked."""
    for name in ("pyhanko.sign.diff_analysis", "pyhanko.sign.validation"):
        importlib.import_module(name)


def fault(signed: Signed, evidence: Evidence) -> str | None:
    """Why the PDF in the evidence is not this person's signature over the statement; None where it is."""
    for name in ("pyhanko", "pyhanko_certvalidator"):  # what they would log is told by the refusal
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        if evidence.has(signed.document) and evidence.path(signed.document).stat().st_size > MAX_SIGNED:
            return f"the PDF is larger than {MAX_SIGNED // 1024**2} MiB"
        octets, crls = (evidence.read(digest) if digest else b"" for digest in (signed.document, signed.crls))
        subject = json.loads(evidence.unsealed(signed.subject))
        if not octets.startswith(drawn := sheet(signed.statement)):
            return "the PDF does not begin with the sheet that was prepared for this step as it stands now"
        return _fault(signed, subject, octets, len(drawn), crls)
    except Refused as lost:
        return lost.refusals[0].what
    except Exception as error:  # hostile files: whatever the reader stumbles over, the signature does not count
        return f"it cannot be read as a signed PDF ({type(error).__name__}: {error})"


def _fault(signed: Signed, subject: dict[str, str], octets: bytes, length: int, crls: bytes) -> str | None:
    from pyhanko.pdf_utils.reader import PdfFileReader

    reader = PdfFileReader(BytesIO(octets), strict=True)
    made = reader.embedded_regular_signatures
    if not made:
        return "nobody signed the PDF"
    if found := appended.changed(reader, octets, length):
        return found
    if not octets.rstrip().endswith(b"%%EOF"):
        return "its signatures cover a part of the file only"
    for signature in made:
        if found := _against(signature, _contexts(reader, signature, signed, crls), last=signature is made[-1]):
            return found
    if found := appended.added(reader):
        return found
    names = [signature.signer_cert.subject.native for signature in made]
    if any(found == subject or (not signed.whole and found.items() >= subject.items())
           for found in map(_identity, names)):
        return None
    return f"it is made by {' and '.join(map(told, names))}; {signed.by} is {told(subject)}"


def _identity(name: Mapping[str, Any]) -> dict[str, Any]:
    """Who a certificate says that its holder is. One that says more, or one thing twice, is a namesake's."""
    said = {key: name[key] for key in IDENTITY if key in name}
    return {key: sorted(value) if isinstance(value, list) else value for key, value in said.items()}


def told(name: Mapping[str, Any]) -> str:
    """What a certificate calls its holder, in short."""
    return ", ".join(str(name[key]) for key in IDENTITY if key in name) or "a certificate without a name"


def _of_a_person(certificate: Certificate) -> bool:
    """Whether a certificate is for people's signatures: it names no purpose, or not only a machine's or program's."""
    purposes = set(said.native) if (said := certificate.extended_key_usage_value) else set[str]()
    machines = {"server_auth", "time_stamping", "ocsp_signing", "code_signing"}
    return machines.isdisjoint(purposes) or not purposes <= {*machines, "client_auth"}


def _against(signature: EmbeddedPdfSignature, contexts: Contexts, *, last: bool) -> str | None:
    """Why a signature does not count."""
    from pyhanko.sign.diff_analysis import DiffResult, ModificationLevel
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko.sign.validation.settings import KeyUsageConstraints

    usages = KeyUsageConstraints(key_usage={"non_repudiation", "digital_signature"}, match_all_key_usages=False)
    checked = partial(validate_pdf_signature, signature, key_usage_settings=usages)
    status = checked(contexts.full)
    who = told(status.signing_cert.subject.native)
    if not _of_a_person(status.signing_cert):
        return f"the certificate of {who} is for servers, time stamps or programs, and not for people's signatures"
    if not status.intact or not status.valid:
        return f"the PDF was changed after {who} signed it, or the signature was made with another key"
    # Nothing follows the last signature but what PAdES adds for later: lists of revoked certificates, timestamps.
    most = ModificationLevel.LTA_UPDATES if last else ModificationLevel.FORM_FILLING
    if not isinstance(changes := status.diff_result, DiffResult) or changes.modification_level > most:
        return f"the signature of {who} covers a part of the file only"
    name = None if status.trusted else _problem(status)
    if name is None and _problem(accused := checked(contexts.accusing, skip_diff=True)).startswith("REVOKED"):
        name = _problem(accused)  # pyHanko asks nobody else once one answer says that all is well
    if name == UNCLEAR:
        name = UNKNOWN if checked(contexts.bare).trusted else name
    if name is not None:
        reason = REASONS.get(name.removesuffix("_NO_POE"), f"its certificate is not taken ({name})")
        return f"the signature of {who} does not hold at {contexts.full.moment:%Y-%m-%dT%H:%M:%SZ}: {reason}"
    return None


def _problem(status: PdfSignatureStatus) -> str:
    return getattr(status.trust_problem_indic, "standard_name", "")


class Contexts(NamedTuple):
    """The register's roots and time, and what the PDF and the given lists say on revocation. Nothing is fetched."""

    full: ValidationContext
    bare: ValidationContext  # takes a certificate without a word on revocation, to tell what is missing
    accusing: ValidationContext  # with lists of any time, and those answers only that say that something was revoked


def _contexts(reader: PdfFileReader, signature: EmbeddedPdfSignature, signed: Signed, crls: bytes) -> Contexts:
    from asn1crypto import crl
    from pyhanko.sign.general import NonexistentAttributeError, find_unique_cms_attribute
    from pyhanko.sign.validation.dss import DocumentSecurityStore
    from pyhanko.sign.validation.errors import NoDSSFoundError
    from pyhanko_certvalidator import ValidationContext

    known: dict[str, Any] = {"crls": [crl.CertificateList.load(der) for der in _ders(crls)], "ocsps": []}
    try:
        attribute = find_unique_cms_attribute(signature.signer_info["signed_attrs"], "adobe_revocation_info_archival")
        known["crls"] += list(attribute["crl"] or ())
        known["ocsps"] += list(attribute["ocsp"] or ())
    except NonexistentAttributeError:
        pass  # in the document's security store then
    try:
        store = DocumentSecurityStore.read_dss(reader)
    except NoDSSFoundError:
        store = DocumentSecurityStore(writer=None)
    settings: dict[str, Any] = {
        "trust_roots": [_certificate(root) for root in signed.roots], "allow_fetching": False,
        "moment": datetime.fromisoformat(signed.time), "time_tolerance": timedelta(minutes=1)}
    full = store.as_validation_context({**known, **settings, "revocation_mode": "require"})
    settings |= {"other_certs": list(store.load_certs()), "revocation_mode": "soft-fail"}
    bare = ValidationContext(**settings)
    # What was revoked stays so, also where the word for it was to hold for an hour.
    settings |= {"crls": full.crls, "ocsps": list(filter(_revokes, full.ocsps)), "time_tolerance": A_CENTURY}
    return Contexts(full, bare, ValidationContext(**settings))


def _revokes(answer: Any) -> bool:
    """Whether an answer (OCSP) says of any certificate that it was revoked; one without content says nothing."""
    data = answer.response_data if answer["response_status"].native == "successful" else {"responses": ()}
    return any(each["cert_status"].name == "revoked" for each in data["responses"])


def _ders(octets: bytes) -> list[bytes]:
    """The objects of a file in PEM, or the one in DER."""
    from asn1crypto import pem

    if not pem.detect(octets):
        return [octets] if octets else []
    return [der for _, _, der in pem.unarmor(octets, multiple=True)]


def _certificate(der: bytes) -> Any:
    from asn1crypto import x509

    return x509.Certificate.load(der)


def named(root: str) -> str:
    """What an authority calls itself."""
    return str(_certificate(base64.b64decode(root)).subject.human_friendly)


def root(path: Path) -> tuple[str, str]:
    """An authority's certificate as the register keeps it: its sha256, and its DER in base64. Raises Usage."""
    try:
        (der,) = _ders(path.read_bytes())
        certificate = _certificate(der)
        name, authority = certificate.subject.human_friendly, certificate.ca
    except (OSError, ValueError, TypeError) as error:
        raise Usage(f"no certificate can be read: {error}", str(path), "name the authority's, PEM or DER") from error
    if not authority:
        refuse(f"{name} is no authority that issues certificates ({path})", "roots of PDF signatures",
               "take the certificate of the root, from its own publication")
    return hashlib.sha256(der).hexdigest(), base64.b64encode(der).decode()


def subject(path: Path) -> str:
    """What certificates call a person (JSON), from one of theirs or a PDF that they signed. Raises Refused, Usage."""
    try:
        octets = path.read_bytes()
        if octets.startswith(b"%PDF-"):
            from pyhanko.pdf_utils.reader import PdfFileReader

            (signature,) = PdfFileReader(BytesIO(octets)).embedded_regular_signatures
            certificate = signature.signer_cert
        else:
            certificate = _certificate(*_ders(octets))
        named = certificate.subject.native
    except Exception as error:  # the reader of PDFs knows many ways to fail
        raise Usage(f"no certificate can be read: {error}", str(path),
                    "name the person's certificate, or a PDF that they alone signed") from error
    found = _identity(named)
    if "common_name" not in found or len(found) < 2:
        refuse(f"the certificate says only {told(named)}", "certificate",
               "take one that names the person and their organisation or number")
    if any(isinstance(value, list) for value in found.values()):
        refuse(f"the certificate says one thing twice: {told(named)}", "certificate", "take one that names one person")
    return canonical(found)
