"""Endorsements for a report: what the host lacks, from the cache, then from AMD's key server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from tee.collateral.cache import CollateralCache
from tee.collateral.item import Item, chain_item, crl_item, vcek_file, vcek_item
from tee.collateral.kds import Kds
from tee.collateral.proof import (
    Authorities,
    Products,
    candidate_products,
    match_authorities,
    read_crl,
    read_vcek,
    vcek_id_of_report,
)
from tee.errors import Malformed, Unavailable
from tee.snp.certs import Certificate, parse_certificate
from tee.snp.collateral import Collateral
from tee.snp.product import PRODUCTS, Product
from tee.snp.report import AttestationReport, SigningKey

CRL_REFRESH = timedelta(days=1)

T = TypeVar("T")


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Unkept:
    fetched_at: datetime
    content: bytes


class CachedEndorser:
    """An Endorser. It raises nothing for what it lacks: its Collateral says where it looked and why there is none.

    One caller at a time. A call waits for the key server at most kds.DEADLINE_SECONDS for each item that it lacks,
    and after a failure not at all for a while. `products` names whose pins count: only tests pass others than AMD's.
    """

    def __init__(
        self,
        cache: CollateralCache,
        kds: Kds | None,
        *,
        products: Products = PRODUCTS,
        now: Callable[[], datetime] = utc_now,
        notice: Callable[[str], None] = lambda _words: None,
    ) -> None:
        """`kds` is None to ask nobody; `notice` is told of each trouble once, for the operator."""
        self._cache = cache
        self._kds = kds
        self._products = products
        self._now = now
        self._notice = notice
        self._told: dict[str, str] = {}  # by item: the trouble that the operator knows of
        self._notes: list[str] = []  # of this call
        self._retryable = False
        self._unkept: dict[str, _Unkept] = {}  # by item: what the disk did not take

    def __call__(self, report: AttestationReport, held: Collateral) -> Collateral:
        """What the host holds, as far as it is good, completed; None for what is nowhere."""
        self._notes, self._retryable = [], False
        kind = report.signing_key
        vek, chain, crl = None, None, None
        if held.vek is None and kind is SigningKey.VLEK:
            self._notes.append("a VLEK comes from the host alone: no key server hands it out")
        for product in self._candidates(report, held.vek):
            chain = _hosts_chain(held, product, kind, self._now()) or self._obtain(chain_item(product, kind))
            if chain is None:
                continue
            vek = held.vek if kind is SigningKey.VLEK else self._vcek(report, held.vek, product, chain.intermediate)
            if vek is not None:
                crl = self._crl(held.crl, product, kind, chain.ark)
                break
        return Collateral(
            self._source(),
            vek,
            None if chain is None else chain.intermediate.raw,
            None if chain is None else chain.ark.raw,
            crl,
            self._retryable,
        )

    def _candidates(self, report: AttestationReport, vek: bytes | None) -> list[Product]:
        """The products to try; where several are possible, one whose VCEK is kept comes first."""
        products = candidate_products(report, vek, self._products)
        if not products:
            self._notes.append(f"its CPU (CPUID {report.cpuid}) is of no product that is known here. Update SafeRouter")
        return sorted(products, key=lambda product: not self._is_kept(report, product))

    def _is_kept(self, report: AttestationReport, product: Product) -> bool:
        try:
            return self._cache.holds(vcek_file(vcek_id_of_report(report, product)))
        except Malformed:
            return False

    def _vcek(self, report: AttestationReport, held: bytes | None, product: Product, ask: Certificate) -> bytes | None:
        try:
            wanted = vcek_id_of_report(report, product)
        except Malformed as error:
            self._notes.append(str(error))
            return None
        if held is not None:
            try:
                return read_vcek(held, wanted, ask, self._now()).raw
            except Malformed as error:  # of another TCB, where the host has not followed its own update
                self._note("vcek", f"a VCEK that was found first does not fit ({error})")
        certificate = self._obtain(vcek_item(wanted, ask))
        return None if certificate is None else certificate.raw

    def _crl(self, held: bytes | None, product: Product, kind: SigningKey, ark: Certificate) -> bytes | None:
        item = crl_item(product, kind, ark)
        if held is not None:
            try:
                given, kept = read_crl(held, ark, self._now()), self._kept(item)
            except Malformed as error:
                self._note("crl", f"a revocation list that was found first does not hold ({error})")
            else:
                # The newer: one that is still in force may be from before a revocation.
                return given.raw if kept is None or kept.parsed.this_update <= given.parsed.this_update else kept.raw
        found = self._obtain(item, CRL_REFRESH)
        return None if found is None else found.raw

    def _obtain(self, item: Item[T], refresh: timedelta | None = None) -> T | None:
        """What is kept, if it is good and no older than `refresh`; else a new one; else what is kept and good."""
        kept = self._kept(item)
        if kept is not None and (refresh is None or self._is_recent(item.name, refresh)):
            return kept
        if self._kds is None:
            return kept
        try:
            found = self._fetch(self._kds, item)
        except Unavailable as error:
            self._note(item.path, str(error))
            self._retryable = self._retryable or error.retryable
            return kept
        self._told.pop(item.path, None)
        return found

    def _kept(self, item: Item[T]) -> T | None:
        now = self._now()
        if item.name in self._unkept:
            try:
                return item.read(self._unkept[item.name].content, now)
            except Malformed:  # its time is over
                del self._unkept[item.name]
        try:
            return self._cache.load(item, now)
        except (Malformed, Unavailable) as error:
            self._note(item.name, f"a kept file is not used ({error})")
            return None

    def _is_recent(self, name: str, refresh: timedelta) -> bool:
        written_at = self._unkept[name].fetched_at if name in self._unkept else self._cache.written_at(name)
        return written_at is not None and timedelta(0) <= self._now() - written_at < refresh

    def _fetch(self, kds: Kds, item: Item[T]) -> T:
        """A new one, proven, and kept if that is possible. Raises Unavailable."""
        raw = kds.get(item.path, item.limit)
        try:
            found = item.read(raw, self._now())
            self._keep(item, found)
        except Malformed as error:
            raise kds.refuse(item.path, error) from None
        kds.accept(item.path)
        return found

    def _keep(self, item: Item[T], found: T) -> None:
        """On disk, or else in memory: no quote is to ask AMD anew because a disk is full. Raises Malformed."""
        self._unkept.pop(item.name, None)
        try:
            self._cache.keep(item, found)
        except Unavailable as error:
            self._unkept[item.name] = _Unkept(self._now(), item.encode(found))
            self._note(f"{item.name} unkept", f"what was fetched is used and not kept ({error})")

    def _note(self, about: str, words: str) -> None:
        self._notes.append(words)
        if self._told.get(about) != words:
            self._told[about] = words
            self._notice(words)

    def _source(self) -> str:
        server = "no key server, since none is configured" if self._kds is None else f"AMD's keys at {self._kds.url}"
        return f"the cache {self._cache.folder} and {server}" + "".join(f"; {note}" for note in self._notes)


def _hosts_chain(held: Collateral, product: Product, kind: SigningKey, now: datetime) -> Authorities | None:
    """The host's own chain if it is AMD's: then nothing else need be asked for one."""
    if held.intermediate is None or held.ark is None:
        return None
    try:
        rows = [parse_certificate(blob, "chain") for blob in (held.intermediate, held.ark)]
        return match_authorities(rows, product, kind, now)
    except Malformed:
        return None  # the verifier names what is wrong with it
