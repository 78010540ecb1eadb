"""Certificates for signing films, made for a test and trusted by nobody."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest


def certificate(folder: Path, kind: str = "ec") -> tuple[Path, Path]:
    """A chain of two and its private key, as PEM files. kind: of the key; ec, rsa or ed25519"""
    pytest.importorskip("c2pa", reason="c2pa-python signs and reads signatures")
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography makes certificates")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    make = {
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    authority, key = make["ec"](), make[kind]()
    today = datetime.now(timezone.utc)

    def begun(holder: str, of):
        names = [
            x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)]) for name in (holder, "Nobody's Authority")
        ]
        number = x509.random_serial_number()
        begun = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(of.public_key())
        return begun.serial_number(number).not_valid_before(today).not_valid_after(today + timedelta(days=1))

    signing = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    root = begun("Nobody's Authority", authority).add_extension(x509.BasicConstraints(True, None), True)
    leaf = begun("A Test", key).add_extension(x509.BasicConstraints(False, None), True).add_extension(signing, True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False)
    chain = [made.sign(authority, hashes.SHA256()) for made in (leaf, root)]
    files = folder / f"{kind}.pem", folder / f"{kind}.key"
    files[0].write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return files
