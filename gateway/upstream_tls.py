"""TLS to providers: whose word is taken for who they are, what a handshake showed, and why one was refused."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.routing.identity import Shown
from tee.canonical import digest_bytes

TlsObject = ssl.SSLObject | ssl.SSLSocket
_DER = 2  # the `_ssl.ENCODING_DER` of Python 3.11 and 3.12
# OpenSSL's X509_V_ERR_* by number, in words for the operator.
_REFUSALS = {
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself",
    19: "comes with a root that is not among the CAs trusted for this provider",
    20: "is signed by no CA that is trusted for this provider",
    21: "is signed by no CA that is trusted for this provider",
    62: "is for another host name",
    64: "is for another address",
}


def new_context(roots: str) -> ssl.SSLContext:
    """A client's context that trusts the CAs in `roots`, PEM, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # demands a certificate, and the host's name in it
    context.load_verify_locations(cadata=roots)
    return context


class IdentityRefused(ssl.SSLCertVerificationError):
    """Chain and name are good, and yet it is not who was to be reached; `words` goes on after "its certificate"."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def judge_handshakes(context: ssl.SSLContext, judge: Callable[[Shown | None], str | None]) -> None:
    """Have `judge` see what each handshake by this context shows, before a byte is sent; its words end it."""

    class Judged(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            if words := judge(_shown(self)):
                raise IdentityRefused(words)

    context.sslobject_class = Judged


def _shown(tls: TlsObject) -> Shown | None:
    leaf, chain = tls.getpeercert(binary_form=True), _verified_chain(tls)
    spki = _leaf_facts(leaf)[0] if leaf else None
    if spki is None or chain is None:
        return None
    return Shown(spki, tuple(hashlib.sha256(each).hexdigest() for each in chain))


def handshake_facts(tls: TlsObject, host: str, roots: str | None) -> dict[str, Any]:
    """The members of the `upstream.tls` event (SPEC §7.1). What Python cannot tell is null."""
    leaf, cipher, chain = tls.getpeercert(binary_form=True), tls.cipher(), _verified_chain(tls)
    spki, logs = _leaf_facts(leaf) if leaf else (None, None)
    return {
        "host": host,
        "tls_version": tls.version(),
        "cipher": cipher[0] if cipher else None,
        "leaf_sha256": hashlib.sha256(leaf).hexdigest() if leaf else None,
        "leaf_spki_sha256": spki,
        "chain_sha256": None if chain is None else [hashlib.sha256(each).hexdigest() for each in chain],
        "sct_log_ids": logs,
        "roots": None if roots is None else digest_bytes(roots.encode()),
        "verified": tls.context.verify_mode is ssl.CERT_REQUIRED and tls.context.check_hostname,
    }


def refusal(error: BaseException | None) -> str | None:
    """Why the provider's certificate was refused, None where it was not that which failed."""
    while error is not None:
        if isinstance(error, IdentityRefused):
            return error.words
        if isinstance(error, ssl.SSLCertVerificationError):
            return _REFUSALS.get(error.verify_code, f"does not verify ({error.verify_message})")
        error = error.__cause__ or error.__context__
    return None


def _verified_chain(tls: TlsObject) -> list[bytes] | None:
    """The chain that OpenSSL built, leaf first, DER; None where this Python has no way to tell."""
    if hasattr(tls, "get_verified_chain"):  # from Python 3.13 on
        chain = list(tls.get_verified_chain())
    else:
        inner = getattr(tls, "_sslobj", None)
        if inner is None or not hasattr(inner, "get_verified_chain"):
            return None
        chain = [each.public_bytes(_DER) for each in inner.get_verified_chain() or ()]
    return chain or None


@lru_cache(maxsize=64)
def _leaf_facts(leaf: bytes) -> tuple[str | None, list[str] | None]:
    """The SHA-256 of a certificate's SPKI, and the ids of the CT logs whose SCTs it embeds, hex; null if unreadable."""
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError):
        return None, None
    digest = hashlib.sha256(spki).hexdigest()
    try:
        found = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    except x509.ExtensionNotFound:
        return digest, []
    except ValueError:
        return digest, None
    return digest, [each.log_id.hex() for each in found.value]
