"""An authority of the tests' own, as BSrE is one of the state's: certificates, lists of revoked ones, signed PDFs."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from io import BytesIO
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import keys
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import fields, signers
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2046, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)  # when the desk's clock starts
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
OIDS = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "serialNumber": NameOID.SERIAL_NUMBER}
ROOM = (300, 20, 500, 120)


def name(*more: tuple[str, str], **parts: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(OIDS[key], value) for key, value in (*parts.items(), *more)])


@dataclass
class Holder:
    """A certificate with its key, and who issued it."""

    key: Key
    certificate: x509.Certificate
    issuer: Holder | None = None

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def asn1(self) -> Any:
        return asn1_x509.Certificate.load(self.der)

    @property
    def chain(self) -> list[Holder]:
        return [self, *(self.issuer.chain if self.issuer else ())]

    @property
    def signer(self) -> signers.SimpleSigner:
        store = SimpleCertificateStore()
        store.register_multiple(link.asn1 for link in self.chain[1:])
        return signers.SimpleSigner(self.asn1, self.asn1_key, store)

    @property
    def asn1_key(self) -> Any:
        return keys.PrivateKeyInfo.load(self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def issue(self, subject: x509.Name, **more: Any) -> Holder:
        return issue(subject, self, **more)

    def crl(self, *revoked: Holder, at: datetime = NOW - timedelta(hours=1), days: float = 7000) -> bytes:
        """This authority's list of revoked certificates, as PEM."""
        made = x509.CertificateRevocationListBuilder(self.certificate.subject, at, at + timedelta(days=days))
        for holder in revoked:
            entry = x509.RevokedCertificateBuilder(holder.certificate.serial_number, at - timedelta(hours=1))
            made = made.add_revoked_certificate(entry.build())
        return made.sign(self.key, SHA256()).public_bytes(Encoding.PEM)

    def answer(self, holder: Holder, status: str = "GOOD", *, at: datetime = NOW - timedelta(hours=1),
               days: float | None = 7000, by: Holder | None = None) -> bytes:
        """What this authority, or who answers for it, says of a certificate when asked by OCSP."""
        reason = x509.ReasonFlags.key_compromise if status == "REVOKED" else None
        made = ocsp.OCSPResponseBuilder().add_response(
            holder.certificate, self.certificate, SHA256(), ocsp.OCSPCertStatus[status], at,
            None if days is None else at + timedelta(days=days), at - timedelta(hours=1) if reason else None, reason)
        made = made.responder_id(ocsp.OCSPResponderEncoding.HASH, (by or self).certificate)
        if by:
            made = made.certificates([by.certificate])
        return made.sign((by or self).key, SHA256()).public_bytes(Encoding.DER)


def issue(subject: x509.Name, by: Holder | None, *, authority: bool = False, begin: datetime = BEGIN,
          end: datetime = END, purposes: Sequence[x509.ObjectIdentifier] = ()) -> Holder:
    """A certificate that names where to fetch lists of revoked ones, and where to ask about it, as real ones do."""
    key: Key = ec.generate_private_key(ec.SECP256R1())
    if purposes:  # pyHanko's own clock knows no other kind
        key = rsa.generate_private_key(65537, 2048)
    unused = ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    usage = dict.fromkeys(unused, False)
    asked = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://127.0.0.1:9/ocsp"))
    place = x509.DistributionPoint([x509.UniformResourceIdentifier("http://127.0.0.1:9/crl")], None, None, None)
    builder = (
        x509.CertificateBuilder(by.certificate.subject if by else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, content_commitment=not authority, key_cert_sign=authority,
                          crl_sign=authority, **usage), critical=True)
        .add_extension(x509.CRLDistributionPoints([place]), critical=False)
        .add_extension(x509.AuthorityInformationAccess([asked]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    if ExtendedKeyUsageOID.OCSP_SIGNING in purposes:  # who answers is not asked about
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return Holder(key, builder.sign(by.key if by else key, SHA256()), by)


@dataclass
class Authority:
    """A root, and the authority below it that gives certificates to officials."""

    title: str = "BSrE"
    root: Holder = field(init=False)
    issuing: Holder = field(init=False)

    def __post_init__(self) -> None:
        self.root = issue(name(CN=f"Root {self.title}", O="Negara"), None, authority=True)
        self.issuing = self.root.issue(name(CN=f"CA {self.title}", O="Negara"), authority=True)

    def person(self, common: str, number: str = "1", **more: Any) -> Holder:
        return self.issuing.issue(name(CN=common, O="Pemerintah Kota Tarakan", serialNumber=number), **more)

    @cached_property
    def lists(self) -> bytes:
        """Nobody is revoked."""
        return self.root.crl() + self.issuing.crl()


def ders(pems: bytes) -> list[Any]:
    parts = pems.split(b"-----BEGIN")[1:]
    return [asn1_crl.CertificateList.load(x509.load_pem_x509_crl(b"-----BEGIN" + part).public_bytes(Encoding.DER))
            for part in parts]


def answers(octets: tuple[bytes, ...]) -> list[Any]:
    return [asn1_ocsp.OCSPResponse.load(each) for each in octets]


def stored(pdf: bytes, *octets: bytes, lists: bytes = b"") -> bytes:
    """Add answers and lists to the store of a signed PDF, whatever they say."""
    out = BytesIO(pdf)
    made = PdfFileReader(out).embedded_regular_signatures[-1]
    DocumentSecurityStore.add_dss(out, made.pkcs7_content.hex().encode(), ocsps=answers(octets), crls=ders(lists))
    return out.getvalue()


def sign(pdf: bytes, holder: Holder, *, lists: bytes = b"", told: tuple[bytes, ...] = (), within: str = "signature",
         box: tuple[int, ...] | None = ROOM, field_name: str = "TTE", timestamp: Authority | None = None,
         **more: Any) -> bytes:
    """Sign as the state's service does. `lists`, and answers (`told`), go into the signature itself, or into the PDF's
    store.

    With an authority for `timestamp`, the store is closed by one (PAdES B-LTA).
    """
    chain = holder.chain
    given = {"trust_roots": [chain[-1].asn1], "other_certs": [link.asn1 for link in chain[1:-1]], "crls": ders(lists),
             "ocsps": answers(told), "allow_fetching": False, "moment": NOW, "revocation_mode": "require"}
    settings: dict[str, Any] = {"md_algorithm": "sha256", **more}
    if lists or told:
        settings |= {"embed_validation_info": True, "validation_context": ValidationContext(**given)}
    stamper = None
    if timestamp:
        clock = timestamp.issuing.issue(name(CN="Waktu", O="Negara"), purposes=(ExtendedKeyUsageOID.TIME_STAMPING,))
        stamper = DummyTimeStamper(clock.asn1, clock.asn1_key, fixed_dt=NOW, include_nonce=False)
        settings |= {"use_pades_lta": True}
        settings["validation_context"] = ValidationContext(**given | {
            "trust_roots": [*given["trust_roots"], timestamp.root.asn1], "revocation_mode": "soft-fail",
            "other_certs": [*given["other_certs"], timestamp.issuing.asn1]})
    kind = fields.SigSeedSubFilter.ADOBE_PKCS7_DETACHED if within == "signature" else fields.SigSeedSubFilter.PADES
    out = BytesIO()
    signers.PdfSigner(
        signers.PdfSignatureMetadata(field_name=field_name, subfilter=kind, **settings), holder.signer,
        timestamper=stamper, new_field_spec=fields.SigFieldSpec(field_name, on_page=0, box=box),
    ).sign_pdf(IncrementalPdfFileWriter(BytesIO(pdf)), output=out)
    return out.getvalue()


def sign_in_part(pdf: bytes, holder: Holder, left_out: int = 30) -> bytes:
    """A signature that holds, over a range that ends before the file does."""
    made = sign(pdf, holder)
    place = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+) *\]", made)
    assert place
    first, start, length = (int(number) for number in place.groups())
    length -= left_out
    width = place.end(3) - place.start(3)
    made = made[: place.start(3)] + str(length).encode().ljust(width) + made[place.end(3) :]
    digest = hashlib.sha256(made[:first] + made[start : start + length]).digest()
    blob = asyncio.run(holder.signer.async_sign(digest, "sha256")).dump().hex().encode()
    return made[: first + 1] + blob.ljust(start - first - 2, b"0") + made[start - 1 :]
