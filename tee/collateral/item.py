"""What AMD's key server publishes: each item's address, its name in a cache, and what proves it (SPEC §3)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from tee.collateral import proof
from tee.collateral.proof import Authorities, SignedList, VcekId
from tee.snp.certs import MAX_CERTIFICATE_SIZE, MAX_CRL_SIZE, Certificate
from tee.snp.product import Product, parse_tcb
from tee.snp.report import SigningKey

MAX_CHAIN_SIZE = 4 * MAX_CERTIFICATE_SIZE  # two certificates in PEM; AMD's are 5 kB
_SPL_NAMES = {"fmc": "fmcSPL", "bootloader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """One thing to fetch and keep. `read` judges bytes (at no time in particular if that is None)."""

    name: str  # of its file in a cache
    path: str  # below the key server's URL
    limit: int  # bytes
    read: Callable[[bytes, datetime | None], T]
    encode: Callable[[T], bytes]
    succeed: Callable[[T, T], None]  # refuses to replace the first by the second


def chain_item(product: Product, kind: SigningKey) -> Item[Authorities]:
    """The intermediate of a kind, and the ARK."""
    return Item(
        f"{product.name}-{_word(kind)}-chain.pem",
        f"/{_word(kind)}/v1/{product.name}/cert_chain",
        MAX_CHAIN_SIZE,
        lambda raw, now: proof.read_chain(raw, product, kind, now),
        lambda chain: _pem(chain.intermediate.raw) + _pem(chain.ark.raw),
        lambda _old, _new: None,  # pins leave no choice
    )


def crl_item(product: Product, kind: SigningKey, ark: Certificate) -> Item[SignedList]:
    """The revocation list for the intermediates of a kind."""
    return Item(
        f"{product.name}-{_word(kind)}-crl.der",
        f"/{_word(kind)}/v1/{product.name}/crl",
        MAX_CRL_SIZE,
        lambda raw, now: proof.read_crl(raw, ark, now),
        lambda crl: crl.raw,
        proof.require_no_older,
    )


def vcek_item(vcek: VcekId, ask: Certificate) -> Item[Certificate]:
    """The VCEK of a chip and TCB. There is none for a VLEK: key servers hand it to cloud providers alone."""
    spls = parse_tcb(vcek.tcb, vcek.product, "TCB")
    query = "&".join(f"{name}={spls[part]:02d}" for part, name in _SPL_NAMES.items() if part in spls)
    return Item(
        vcek_file(vcek),
        f"/vcek/v1/{vcek.product.name}/{vcek.hwid.hex()}?{query}",
        MAX_CERTIFICATE_SIZE,
        lambda raw, now: proof.read_vcek(raw, vcek, ask, now),
        lambda certificate: certificate.raw,
        proof.require_same_key,
    )


def vcek_file(vcek: VcekId) -> str:
    """The name of a VCEK's file in a cache."""
    return f"{vcek.product.name}-vcek-{vcek.hwid.hex()}-{vcek.tcb.hex()}.der"


def _word(kind: SigningKey) -> str:
    return kind.name.lower()


def _pem(certificate: bytes) -> bytes:
    """As AMD serves chains, so that other tools read what is kept."""
    text = base64.b64encode(certificate)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join((b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""))
