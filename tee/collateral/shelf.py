"""What a cache holds, file by file, and sorting loose files into it: each is proven before it is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tee.collateral.cache import CollateralCache
from tee.collateral.item import Item, chain_item, crl_item, vcek_item
from tee.collateral.proof import (
    Authorities,
    Products,
    SignedList,
    VcekId,
    is_crl,
    iso,
    match_authorities,
    read_crl,
    read_vcek,
    split_blobs,
    vcek_id_of_certificate,
)
from tee.errors import Malformed, Unavailable
from tee.snp.certs import Certificate, parse_certificate, parse_crl
from tee.snp.product import Product
from tee.snp.report import SigningKey

KINDS = (SigningKey.VCEK, SigningKey.VLEK)
_NAME = re.compile(
    r"(?P<product>[A-Za-z]+)-(?P<kind>vcek|vlek)-"
    r"(?:(?P<chain>chain\.pem)|(?P<crl>crl\.der)|(?P<hwid>[0-9a-f]{16}|[0-9a-f]{128})-(?P<tcb>[0-9a-f]{16})\.der)"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of a cache. `problem` says why it would not be used now."""

    file: str
    content: str
    until: datetime | None
    written_at: datetime | None
    problem: str | None

    def to_json(self) -> dict[str, str | None]:
        """As `saferouter collateral list --json` prints it."""
        return {
            "file": self.file,
            "content": self.content,
            "until": None if self.until is None else iso(self.until),
            "written_at": None if self.written_at is None else iso(self.written_at),
            "problem": self.problem,
        }


def list_kept(cache: CollateralCache, products: Products, now: datetime) -> list[Kept]:
    """Every file of the cache, proven anew. Raises Unavailable."""
    rows = []
    for name in cache.names():
        content, until, problem = "unknown", None, None
        try:
            content, item = _item_of(cache, name, products)
            until = _until(cache.load(item, None))  # what it says of itself, also when that is over
            cache.load(item, now)
        except (Malformed, Unavailable) as error:
            problem = str(error)
        rows.append(Kept(name, content, until, cache.written_at(name), problem))
    return rows


def keep_files(cache: CollateralCache, files: dict[str, bytes], products: Products, now: datetime) -> list[str]:
    """Keep certificates, chains and lists from files by name: all of them or, if one is refused, none.

    Returns the names of what was kept. Raises Malformed, which names the file, and Unavailable.
    """
    sorting = _Sorting(cache, products, now)
    for name, raw in files.items():
        sorting.split(name, raw)
    sorting.sort()
    planned: dict[str, Any] = {}
    for name, item, value in sorting.plan:
        try:
            cache.require_successor(item, value)
            if item.name in planned:  # two of the same in one import
                item.succeed(planned[item.name], value)
        except Malformed as error:
            raise _of_file(name, error) from None
        planned[item.name] = value
    for _, item, value in sorting.plan:
        cache.keep(item, value)
    return list(planned)


@dataclass
class _Sorting:
    """Loose certificates and lists on their way into a cache, each with the file that it came from."""

    cache: CollateralCache
    products: Products
    now: datetime
    authorities: dict[str, tuple[str, Certificate]] = field(default_factory=dict)  # by SHA-256
    vceks: list[tuple[str, Certificate]] = field(default_factory=list)
    lists: list[tuple[str, bytes]] = field(default_factory=list)
    plan: list[tuple[str, Item[Any], Any]] = field(default_factory=list)

    def split(self, file: str, raw: bytes) -> None:
        """What each blob of a file claims to be. Raises Malformed."""
        for blob in split_blobs(raw, file):
            if is_crl(blob, file):
                self.lists.append((file, blob))
                continue
            certificate = parse_certificate(blob, file)
            if certificate.subject_cn in ("SEV-VCEK", "SEV-VLEK"):
                self.vceks.append((file, certificate))
            elif certificate.sha256 in self._pins():
                self.authorities[certificate.sha256] = (file, certificate)
            else:
                found = f"{certificate.subject_cn} {certificate.sha256}"
                raise Malformed(file, found, f"an authority of AMD's that is pinned here ({', '.join(self.products)})")

    def sort(self) -> None:
        """Prove everything, authorities first. Raises Malformed."""
        chains = {product.name: self._chains(product) for product in self.products.values()}
        for file, certificate in self.vceks:
            try:
                vcek = vcek_id_of_certificate(certificate, self.products)
                chain = _require_chain(chains[vcek.product.name].get(SigningKey.VCEK), vcek.product.ask.common_name)
                item = vcek_item(vcek, chain.intermediate)
                self.plan.append((file, item, read_vcek(certificate.raw, vcek, chain.intermediate, self.now)))
            except Malformed as error:
                raise _of_file(file, error) from None
        for file, blob in self.lists:
            try:
                self._sort_list(file, blob, chains)
            except Malformed as error:
                raise _of_file(file, error) from None

    def _pins(self) -> set[str]:
        pins = (pin for product in self.products.values() for pin in (product.ark, product.ask, product.asvk))
        return {pin.der_sha256 for pin in pins}

    def _chains(self, product: Product) -> dict[SigningKey, Authorities]:
        """The chains of a product, kept or given; given ones are planned."""
        kept = {kind: chain for kind in KINDS if (chain := _kept_chain(self.cache, product, kind)) is not None}
        ark = self.authorities.get(product.ark.der_sha256)
        ark_certificate = ark[1] if ark else next((chain.ark for chain in kept.values()), None)
        found = dict(kept)
        for kind, pin in zip(KINDS, (product.ask, product.asvk), strict=True):
            if (given := self.authorities.get(pin.der_sha256)) is None:
                continue
            if ark_certificate is None:
                raise Malformed(given[0], f"{pin.common_name} alone", f"{product.ark.common_name} beside it")
            found[kind] = match_authorities([given[1], ark_certificate], product, kind, self.now)
            self.plan.append((given[0], chain_item(product, kind), found[kind]))
        if ark is not None and not found:
            raise Malformed(ark[0], f"{product.ark.common_name} alone", "its ASK or ASVK beside it")
        return found

    def _sort_list(self, file: str, blob: bytes, chains: dict[str, dict[SigningKey, Authorities]]) -> None:
        """One list speaks for all that its ARK has signed: it is kept for both kinds of intermediates."""
        issuer = parse_crl(blob).issuer
        for product in self.products.values():
            ark = next((chain.ark for chain in chains[product.name].values()), None)
            if ark is not None and ark.subject == issuer:
                proven: SignedList = read_crl(blob, ark, self.now)
                self.plan += [(file, crl_item(product, kind, ark), proven) for kind in KINDS]
                return
        raise Malformed("CRL", "a list of an authority that is not here", "its chain: import that first, or beside it")


def _item_of(cache: CollateralCache, name: str, products: Products) -> tuple[str, Item[Any]]:
    """What a file's name promises. Raises Malformed, Unavailable."""
    parts = _NAME.fullmatch(name)
    product = products.get(parts["product"]) if parts else None
    if parts is None or product is None or (parts["hwid"] and parts["kind"] == "vlek"):
        raise Malformed(name, "a name that means nothing here", "a file of this cache: delete it")
    kind = SigningKey[parts["kind"].upper()]
    if parts["chain"]:
        return "chain", chain_item(product, kind)
    if parts["hwid"]:
        ask = _require_chain(_kept_chain(cache, product, SigningKey.VCEK), product.ask.common_name).intermediate
        return "vcek", vcek_item(VcekId(product, bytes.fromhex(parts["hwid"]), bytes.fromhex(parts["tcb"])), ask)
    chains = (_kept_chain(cache, product, kind) for kind in KINDS)
    ark = next((chain.ark for chain in chains if chain is not None), None)
    if ark is None:
        raise Malformed("chain", "nothing", f"{product.ark.common_name}, to prove this list")
    return "crl", crl_item(product, kind, ark)


def _kept_chain(cache: CollateralCache, product: Product, kind: SigningKey) -> Authorities | None:
    try:
        return cache.load(chain_item(product, kind), None)
    except Malformed:
        return None  # a broken file is as good as none, and is named in the list


def _require_chain(chain: Authorities | None, common_name: str) -> Authorities:
    if chain is None:
        raise Malformed("chain", "nothing", f"{common_name} and its ARK: import them first, or beside it")
    return chain


def _until(value: Authorities | SignedList | Certificate | None) -> datetime | None:
    if value is None:
        return None  # deleted meanwhile
    if isinstance(value, Authorities):
        return min(value.intermediate.not_after, value.ark.not_after)
    return value.parsed.next_update if isinstance(value, SignedList) else value.not_after


def _of_file(file: str, error: Malformed) -> Malformed:
    return Malformed(file, f"{error.field}: {error.found}", error.wanted)
