"""The keys with which scheduler, workers and commands know each other.

Who can talk to a scheduler can run any program as root on every worker. So everything is
TLS with certificates on both sides (RFC 8446, 4.4.2), also on one machine: Dask accepts a
peer if the cluster's authority has signed its certificate. One certificate serves all
machines. The authority's own key is thrown away, so nobody can sign another one.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.fleet.addresses import Address
from experiments.fleet.fleet_errors import FleetError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate
    from distributed.security import Security

DEFAULT_FOLDER = Path("/etc/resetbed/keys")
#: For this machine alone, where no keys were made. They go with the next boot.
LOOPBACK_FOLDER = Path("/run/resetbed-keys")
VALID_DAYS = 730
#: Clocks of machines differ.
_SKEW = datetime.timedelta(days=1)
#: Usages of keys that nobody needs here (RFC 5280, 4.2.1.3).
_NO_USAGES = (
    *("content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "encipher_only", "decipher_only"),
)
_REMEDY = "make keys once with ./resetbed cluster-keys, and copy their folder to every machine"


@dataclass(frozen=True)
class Keys:
    """A folder with the authority's certificate, the cluster's, and its private key."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate that every peer's is checked against."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The certificate that is shown to peers."""
        return self.folder / "cluster.pem"

    @property
    def key(self) -> Path:
        """The private key of that certificate."""
        return self.folder / "cluster-key.pem"

    @property
    def exist(self) -> bool:
        """Whether the folder holds keys."""
        return all(p.is_file() for p in (self.authority, self.certificate, self.key))

    def security(self) -> Security:
        """Dask's settings for these keys. Raises :class:`FleetError` if they are no good."""
        from distributed.security import Security

        self.check()
        certificate, key = str(self.certificate), str(self.key)
        return Security(
            require_encryption=True,
            tls_ca_file=str(self.authority),
            tls_client_cert=certificate,
            tls_client_key=key,
            tls_scheduler_cert=certificate,
            tls_scheduler_key=key,
            tls_worker_cert=certificate,
            tls_worker_key=key,
        )

    def check(self) -> None:
        """Raises :class:`FleetError` for keys that are open to others, broken or too old."""
        if self.key.stat().st_mode & 0o077:
            raise FleetError(
                f"{self.key}: others can read it, and who has it is root on every "
                f"worker: chmod 600 {self.key}; if they may have read it, make new ones"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(self.authority)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise FleetError(f"{self.folder}: no keys: {error}; {_REMEDY}") from error
        ends = str(context.get_ca_certs()[0]["notAfter"])
        if ssl.cert_time_to_seconds(ends) < time.time():
            raise FleetError(f"{self.folder}: these keys ended on {ends}; {_REMEDY}")


def find_keys(address: Address, folder: Path | None) -> Keys:
    """The keys for that address. Without any, only this machine itself is accepted.

    ``folder``: the one that was asked for. Raises :class:`FleetError`.
    """
    if folder is not None and not Keys(folder).exist:
        raise FleetError(f"--keys {folder}: no keys there; {_REMEDY}")
    keys = Keys(folder or DEFAULT_FOLDER)
    if keys.exist:
        return keys
    if not address.is_loopback:
        raise FleetError(
            f"{address} is not this machine alone, and there are no keys in "
            f"{DEFAULT_FOLDER}: {_REMEDY}"
        )
    return _loopback_keys(LOOPBACK_FOLDER)


def make_keys(folder: Path) -> Keys:
    """New keys in ``folder``, readable by nobody else. Raises :class:`FleetError`.

    Earlier keys are never replaced: what runs with them would be locked out.
    """
    keys = Keys(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise FleetError(f"{folder}: is not empty; choose another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _write_keys(keys)
    return keys


def _loopback_keys(folder: Path) -> Keys:
    """The keys of this boot, made by who comes first."""
    keys = Keys(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not keys.exist:
            _write_keys(keys)
    finally:
        os.close(lock)
    return keys


def _write_keys(keys: Keys) -> None:
    """The private key comes last: without it the folder holds no keys."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("resetbed cluster authority", authority, authority, None)
    leaf = _certificate("resetbed cluster", own, authority, root)
    keys.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    keys.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    text = own.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    scratch = keys.key.with_name(f".{keys.key.name}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(text)
    scratch.replace(keys.key)


def _certificate(
    name: str,
    own: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    issuer: Certificate | None,
) -> Certificate:
    """A certificate for ``own``, with what RFC 5280 asks for; an authority's without issuer."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    is_authority = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                **dict.fromkeys(_NO_USAGES, False),
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    if not is_authority:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    return builder.sign(signer, hashes.SHA256())
