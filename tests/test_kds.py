"""Endorsements from AMD's key server: what it may answer, what is kept of it, and what an operator reads."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey as Identity

from gateway.boot_keys import BootKeys
from gateway.config import Limits, decode_config
from gateway.desk import QuoteDesk
from gateway.workload import Document, Keyset, WorkloadKeys, workload_document
from tee.collateral import kds
from tee.collateral.cache import CollateralCache
from tee.collateral.endorser import CachedEndorser
from tee.collateral.item import chain_item, crl_item, vcek_file, vcek_item
from tee.collateral.kds import Kds, parse_kds_url
from tee.collateral.patience import LONGEST_PAUSE, SHORTEST_PAUSE, parse_retry_after, pause_after
from tee.collateral.proof import candidate_products, is_crl, read_chain, split_blobs, vcek_id_of_report
from tee.errors import Malformed, Unavailable
from tee.evidence import Endorsements, Evidence
from tee.snp.certs import parse_certificate, parse_crl
from tee.snp.collateral import Collateral, complete_endorsements
from tee.snp.product import GENOA, MILAN, PRODUCTS, TURIN
from tee.snp.report import SigningKey, parse_report
from tee.verify import verify_report
from tests.vectors import der
from tests.vectors.certificates import ARK, ASK, DAY, RevocationList, vek, vek_values, vlek_values
from tests.vectors.reports import MILAN as MILAN_FIELDS
from tests.vectors.reports import TURIN as TURIN_FIELDS
from tests.vectors.reports import VERSIONS, report
from tests.vectors.reports import VLEK as VLEK_FIELDS
from tests.vectors.signing import RSA
from tests.worlds.gateway import free_port
from tests.worlds.kds import KeyServer, key_server, mock_products
from tests.worlds.small_log import SmallLog

NOTHING = Collateral("")
DEVICE = "the device"
VCEK_PATH, CHAIN_PATH, CRL_PATH = "/vcek/v1/Genoa/4041", "/cert_chain", "/crl"


class Clock:
    """The real time, until a test moves it."""

    def __init__(self) -> None:
        self.ahead = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.ahead


class Machine:
    """One machine: its cache, its clock, and what its operator was told. Restart it for a new process."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.cache = CollateralCache(folder / "collateral")
        self.url = url
        self.clock = Clock()
        self.told: list[str] = []
        self.restart()

    def restart(self) -> None:
        server = None if self.url is None else Kds(self.url, now=self.clock, chance=lambda: 0.5)
        products = mock_products()
        self.endorser = CachedEndorser(self.cache, server, products=products, now=self.clock, notice=self.told.append)

    def endorse(self, raw: bytes, **held: bytes) -> Endorsements:
        """The endorsements of a report whose host's table holds these."""
        return complete_endorsements(parse_report(raw), held, self.endorser, DEVICE)

    def outcome(self, raw: bytes, **held: bytes) -> str:
        """What a verifier says of them."""
        evidence = Evidence(raw, self.endorse(raw, **held))
        verdict = verify_report(evidence, now=self.clock(), policy=None, accept_mock=True)
        return verdict.outcome

    def refusal(self, raw: bytes, **held: bytes) -> Unavailable:
        """Why there is no evidence, in the operator's words."""
        with pytest.raises(Unavailable) as caught:
            self.endorse(raw, **held)
        return caught.value

    def age_crl(self, age: dt.timedelta) -> None:
        """As if the lists had been fetched so long ago."""
        for path in self.cache.folder.glob("*-crl.der"):
            moment = (self.clock() - age).timestamp()
            os.utime(path, (moment, moment))


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as world:
        yield world


@pytest.fixture
def machine(server: KeyServer, tmp_path: Path) -> Machine:
    return Machine(tmp_path, server.url)


@pytest.fixture(scope="module")
def genoa() -> bytes:
    return report()


def dead_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


# What is asked for.


def test_the_addresses_are_amds(genoa: bytes) -> None:
    ask, chip = parse_certificate(ASK.der(), "ASK"), "".join(f"{byte:02x}" for byte in range(0x40, 0x80))
    bergamo = parse_report(report({"cpuid": bytes((0x19, 0xA0, 1))}))
    spls = "blSPL=12&teeSPL=03&snpSPL=30&ucodeSPL=90"
    turin_spls = "fmcSPL=02&blSPL=03&teeSPL=05&snpSPL=07&ucodeSPL=96"
    for raw, path in (
        (parse_report(genoa), f"/vcek/v1/Genoa/{chip}?{spls}"),
        (bergamo, f"/vcek/v1/Genoa/{chip}?{spls}"),
        (parse_report(report(MILAN_FIELDS)), f"/vcek/v1/Milan/{chip}?{spls}"),
        (parse_report(report(TURIN_FIELDS)), f"/vcek/v1/Turin/{chip[:16]}?{turin_spls}"),
    ):
        (product,) = candidate_products(raw, None, PRODUCTS)
        assert vcek_item(vcek_id_of_report(raw, product), ask).path == path
    assert chain_item(TURIN, SigningKey.VCEK).path == "/vcek/v1/Turin/cert_chain"
    assert chain_item(MILAN, SigningKey.VLEK).path == "/vlek/v1/Milan/cert_chain"
    assert crl_item(GENOA, SigningKey.VCEK, ask).path == "/vcek/v1/Genoa/crl"
    assert crl_item(MILAN, SigningKey.VLEK, ask).path == "/vlek/v1/Milan/crl"


def test_a_report_that_names_no_chip_cannot_be_asked_for(machine: Machine, server: KeyServer) -> None:
    error = machine.refusal(report({"chip_id": bytes(64)}))
    assert "CHIP_ID: found zero, wanted the chip's id: the host masks it" in str(error)
    assert not server.asked(VCEK_PATH)
    masked_turin = TURIN_FIELDS | {"chip_id": bytes(range(64))}
    assert "wanted 8 bytes and zeros, as Turin has" in str(machine.refusal(report(masked_turin)))


def test_an_unknown_cpu_is_named(machine: Machine, server: KeyServer) -> None:
    error = machine.refusal(report({"cpuid": bytes((0x1A, 0x50, 0))}))
    assert "its CPU (CPUID (26, 80, 0)) is of no product that is known here. Update SafeRouter" in str(error)
    assert not server.requests


@pytest.mark.parametrize("fields", [{}, MILAN_FIELDS, TURIN_FIELDS])
def test_a_new_machine_asks_once_and_never_again(machine: Machine, server: KeyServer, fields: dict[str, Any]) -> None:
    raw = report(fields)
    assert machine.outcome(raw) == "authentic"
    assert len(server.requests) == 3
    first = machine.endorse(raw)
    assert first.crl is not None
    machine.url = dead_url()
    machine.restart()
    assert machine.endorse(raw) == first
    assert len(server.requests) == 3
    assert not machine.told


def test_what_is_kept_is_public_and_nobody_elses_to_change(machine: Machine, genoa: bytes) -> None:
    machine.endorse(genoa)
    names = machine.cache.names()
    assert names == sorted(names)
    assert len(names) == 3
    for name in names:
        assert (machine.cache.folder / name).stat().st_mode & 0o777 == 0o644


def test_version_2_names_no_cpu_so_the_certificate_decides(machine: Machine, server: KeyServer) -> None:
    raw = report(VERSIONS[2])
    server.lies = {"/vcek/v1/Milan/4041": "404"}
    assert machine.outcome(raw) == "authentic"
    assert (server.asked("/vcek/v1/Milan/4041"), server.asked(VCEK_PATH)) == (1, 1)
    machine.restart()
    assert machine.outcome(raw) == "authentic"
    assert server.asked("/vcek/v1/Milan/") == 2, "what is kept for Genoa comes before asking for Milan again"
    certificate = vek().der()
    named = candidate_products(parse_report(raw), certificate, PRODUCTS)
    assert [product.name for product in named] == ["Genoa", "Milan"]
    both = candidate_products(parse_report(raw), b"no certificate", PRODUCTS)
    assert [product.name for product in both] == ["Milan", "Genoa"]


def test_version_2_of_an_unknown_chip_was_asked_for_as_both(machine: Machine, server: KeyServer) -> None:
    server.lies = {"/4041": "404"}
    error = machine.refusal(report(VERSIONS[2]))
    assert str(error).count("answered 404: it has none for this product, chip and TCB") == 2
    assert "there is no VCEK: " in str(error)
    assert not error.retryable


def test_a_vlek_is_never_asked_for(machine: Machine, server: KeyServer) -> None:
    raw = report(VLEK_FIELDS)
    vlek = vek(vlek_values(), "SEV-VLEK").der()
    assert machine.outcome(raw, vlek=vlek) == "authentic"
    assert server.requests == ["/vlek/v1/Genoa/cert_chain", "/vlek/v1/Genoa/crl"]
    machine.restart()
    error = machine.refusal(raw)
    assert "a VLEK comes from the host alone: no key server hands it out" in str(error)
    assert str(error).endswith("Have the host's operator add the missing to the host's table")
    assert len(server.requests) == 2


def test_the_world_answers_as_amd_does(server: KeyServer) -> None:
    turin, query = "/vcek/v1/Turin/" + "41" * 8, "?fmcSPL=1&blSPL=1&teeSPL=1&snpSPL=4&ucodeSPL=81"
    first, second = (parse_certificate(Kds(server.url).get(turin + query, 8192), "VCEK") for _ in range(2))
    assert first.raw != second.raw
    assert first.spki == second.spki
    for path in (turin + "00" * 56 + query, "/vlek/v1/Milan/" + "41" * 64 + query):
        with pytest.raises(Unavailable, match="answered 404"):
            Kds(server.url).get(path, 8192)


# The host comes first.


def test_a_host_with_everything_leaves_nothing_to_ask(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    now = machine.clock().replace(microsecond=0)
    crl = RevocationList(this_update=now - DAY, next_update=now + DAY).der()
    table = {"vcek": vek().der(), "ask": ASK.der(), "ark": ARK.der(), "crl": crl}
    assert machine.endorse(genoa, **table) == Endorsements(table["vcek"], table["ask"], table["ark"], crl)
    assert not server.requests
    assert not machine.cache.names()


def test_a_hosts_expired_list_is_replaced(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    now = machine.clock().replace(microsecond=0)
    old = RevocationList(this_update=now - 9 * DAY, next_update=now - DAY).der()
    table = {"vcek": vek().der(), "ask": ASK.der(), "ark": ARK.der()}
    assert machine.outcome(genoa, **table, crl=old) == "authentic"
    assert server.requests == ["/vcek/v1/Genoa/crl"]
    assert "a revocation list that was found first does not hold (CRL: found a list for" in machine.told[0]
    forged = RevocationList(this_update=now - DAY, next_update=now + DAY, signer=RSA["ask"].sign).der()
    for broken in (b"\x30\x00", forged):
        assert machine.endorse(genoa, **table, crl=broken).crl not in (None, broken)


def test_a_hosts_chain_that_is_not_amds_is_replaced(machine: Machine, genoa: bytes) -> None:
    assert machine.outcome(genoa, ask=b"\x30\x03\x02\x01\x00", ark=ARK.der()) == "authentic"


def test_a_hosts_certificate_of_an_older_tcb_is_replaced(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    old = vek(vek_values(microcode=89)).der()
    assert machine.outcome(genoa, vcek=old) == "authentic"
    words = "a VCEK that was found first does not fit (VCEK.SPLs: found bootloader 12, tee 3, snp 30, microcode 89"
    assert machine.told[0].startswith(words)
    machine.endorse(genoa, vcek=old)
    assert len(machine.told) == 1
    assert server.asked(VCEK_PATH) == 1
    other = Machine(machine.cache.folder.parent / "other", None)
    assert "there is no ASK and ARK: " in str(other.refusal(genoa, vcek=old))
    assert other.outcome(genoa, vcek=old, ask=ASK.der(), ark=ARK.der()) == "rejected", "and named by the verifier"


# Every way to answer wrongly, and what an operator reads. Nothing of it is kept.

LIES = [
    (VCEK_PATH, "wrong-product", "VCEK.productName: found Milan, wanted Genoa", False),
    (VCEK_PATH, "wrong-chip", "VCEK.hwID: found 00000000", False),
    (
        VCEK_PATH,
        "wrong-tcb",
        "VCEK.SPLs: found bootloader 12, tee 3, snp 30, microcode 91, wanted bootloader 12",
        False,
    ),
    (VCEK_PATH, "other-signer", "VCEK.signature: found one by SAFEROUTER-MOCK-ASK that does not verify", False),
    (VCEK_PATH, "vlek", "VCEK: found SEV-VLEK, wanted SEV-VCEK with hwID", False),
    (VCEK_PATH, "twice", "VCEK: found 2 certificates, wanted one", False),
    (VCEK_PATH, "short", "VCEK: found", False),
    (VCEK_PATH, "page", "VCEK: found 26 bytes that are neither, wanted PEM or DER", False),
    (VCEK_PATH, "oversized", "answered more than 8192 bytes", False),
    (VCEK_PATH, "truncated", "broke off its answer (RemoteProtocolError)", True),
    (VCEK_PATH, "404", "answered 404: it has none for this product, chip and TCB", False),
    (VCEK_PATH, "302", "answered 302, a redirect to elsewhere, which is not followed", False),
    (VCEK_PATH, "403", "answered 403", False),
    (VCEK_PATH, "500", "answered 500, it has a fault", True),
    (VCEK_PATH, "429", "answered 429, too many requests", True),
    (CHAIN_PATH, "swapped", "chain: found SAFEROUTER-MOCK-ASK", False),
    (CHAIN_PATH, "short", "chain: found", False),
    (CHAIN_PATH, "page", "chain: found 26 bytes that are neither, wanted PEM or DER", False),
    (CHAIN_PATH, "oversized", "answered more than 32768 bytes", False),
]


@pytest.mark.parametrize(("part", "lie", "words", "retryable"), LIES)
def test_a_wrong_answer_is_refused_by_name_and_not_kept(
    machine: Machine, server: KeyServer, genoa: bytes, part: str, lie: str, words: str, retryable: bool
) -> None:
    server.lies = {part: lie}
    error = machine.refusal(genoa)
    assert words in str(error)
    assert f"looked in the host's certificate table (it holds nothing) and the cache {machine.cache.folder}" in str(
        error
    )
    assert f"AMD's keys at {server.url}; {server.url}/vcek/v1/Genoa/" in str(error)
    assert "; not asked again before 2" in str(error)
    assert "or import it (saferouter collateral)" in str(error)
    assert error.retryable is retryable
    assert len(machine.told) == 1
    assert words in machine.told[0]
    assert not [name for name in machine.cache.names() if (part == CHAIN_PATH) == ("chain" in name)]
    # Nobody asks again soon; later, and once the truth is told, all is well.
    asked = len(server.requests)
    again = machine.refusal(genoa)
    assert words in str(again)
    assert (len(server.requests), len(machine.told)) == (asked, 1)
    server.lies = {}
    machine.clock.ahead = dt.timedelta(seconds=40)
    assert machine.outcome(genoa) == "authentic"


CRL_LIES = [
    ("expired", "CRL: found a list for"),
    ("other-signer", "CRL: found a list that SAFEROUTER-MOCK-ARK did not sign, wanted a list that it signed"),
    ("short", "CRL: found"),
    ("twice", "CRL: found 2 lists, wanted one"),
    ("page", "CRL: found 26 bytes that are neither"),
    ("oversized", "answered more than 65536 bytes"),
    ("404", "answered 404"),
    ("429:60", "answered 429"),
]


@pytest.mark.parametrize(("lie", "words"), CRL_LIES)
def test_a_wrong_list_is_refused_and_the_boot_goes_on(
    machine: Machine, server: KeyServer, genoa: bytes, lie: str, words: str
) -> None:
    server.lies = {CRL_PATH: lie}
    assert machine.endorse(genoa).crl is None
    assert machine.outcome(genoa) == "authentic", "verifiers that demand a list will miss it"
    assert len(machine.told) == 1
    assert words in machine.told[0]
    assert len(machine.cache.names()) == 2
    assert server.asked(CRL_PATH) == 1
    server.lies = {}
    machine.clock.ahead = dt.timedelta(seconds=90)
    assert machine.endorse(genoa).crl is not None


def test_text_instead_of_binary_is_as_good(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    server.lies = {VCEK_PATH: "pem"}
    assert machine.outcome(genoa) == "authentic"
    (name,) = (name for name in machine.cache.names() if "-vcek-40" in name)
    assert parse_certificate((machine.cache.folder / name).read_bytes(), "VCEK").subject_cn == "SEV-VCEK"


@pytest.mark.parametrize("lie", ["silent", "trickle"])
def test_a_slow_server_holds_nobody_up_for_long(
    machine: Machine, server: KeyServer, genoa: bytes, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kds, "DEADLINE_SECONDS", 0.4)
    server.lies = {CHAIN_PATH: lie}
    began = time.monotonic()
    error = machine.refusal(genoa)
    assert "gave no whole answer within 0.4 s" in str(error)
    assert error.retryable
    machine.refusal(genoa)
    assert time.monotonic() - began < 8, "and not the 20 s that this server takes"
    assert len(server.requests) == 1, "the second one is not made to wait"


def test_a_server_that_is_not_there(machine: Machine, genoa: bytes) -> None:
    real, machine.url = str(machine.url), dead_url()
    machine.restart()
    assert "cannot be reached (" in str(machine.refusal(genoa))
    machine.url = real.replace("http://", "https://")  # it speaks no TLS
    machine.restart()
    assert "cannot be reached ([SSL" in str(machine.refusal(genoa))


def test_without_a_key_server_the_cache_and_the_host_must_do(machine: Machine, genoa: bytes) -> None:
    machine.url = None
    machine.restart()
    error = machine.refusal(genoa)
    assert f"and the cache {machine.cache.folder} and no key server, since none is configured. Have" in str(error)
    assert not error.retryable


# Patience.


@pytest.mark.parametrize(
    ("lie", "silent", "asks"),
    [
        ("429", 29, 31),
        ("429:120", 131, 133),  # never sooner than asked, by chance up to a fifth later
        ("429:date+120", 128, 134),
        ("429:0", 10, 12),
        ("429:date+-50", 10, 12),
        ("429:999999999", 3950, 3970),
        ("429:soon", 29, 31),
        ("500", 29, 31),
        ("503:120", 131, 133),
    ],
)
def test_a_server_that_wants_rest_gets_it(
    machine: Machine, server: KeyServer, genoa: bytes, lie: str, silent: int, asks: int
) -> None:
    server.lies = {CHAIN_PATH: lie}
    machine.refusal(genoa)
    for path in (genoa, report(TURIN_FIELDS), report(MILAN_FIELDS)):  # the whole server rests, not one address
        machine.refusal(path)
    machine.clock.ahead = dt.timedelta(seconds=silent)
    machine.refusal(genoa)
    assert len(server.requests) == 1
    machine.clock.ahead = dt.timedelta(seconds=asks)
    machine.refusal(genoa)
    assert len(server.requests) == 2


def test_repeated_failures_double_the_pause_and_a_success_ends_it(
    machine: Machine, server: KeyServer, genoa: bytes
) -> None:
    server.lies = {CHAIN_PATH: "429"}
    pauses = []
    for _ in range(9):
        began = machine.clock.ahead
        asked = len(server.requests)
        while len(server.requests) == asked:
            machine.clock.ahead += dt.timedelta(seconds=10)
            machine.refusal(genoa)
        pauses.append((machine.clock.ahead - began).total_seconds())
    assert pauses[0] <= 40
    assert pauses[3] >= 110
    assert max(pauses) <= LONGEST_PAUSE + 20
    server.lies = {}
    machine.clock.ahead += dt.timedelta(hours=1.1)
    machine.endorse(genoa)
    server.lies = {"Turin/cert_chain": "429"}
    machine.refusal(report(TURIN_FIELDS))
    server.lies = {}
    machine.clock.ahead += dt.timedelta(seconds=31)
    machine.endorse(report(TURIN_FIELDS))


def test_a_clock_that_was_set_back_ends_a_pause(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    server.lies = {CHAIN_PATH: "429"}
    machine.clock.ahead = dt.timedelta(hours=20)
    machine.refusal(genoa)
    server.lies, machine.clock.ahead = {}, dt.timedelta()
    machine.endorse(genoa)


@settings(deadline=None)
@given(
    failures=st.integers(1, 10**6),
    header=st.none() | st.text() | st.integers(-(10**30), 10**30).map(str),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_every_pause_is_bounded(failures: int, header: str | None, chance: float) -> None:
    pause = pause_after(failures, header, dt.datetime(2026, 6, 1, tzinfo=dt.UTC), chance).total_seconds()
    assert SHORTEST_PAUSE <= pause <= LONGEST_PAUSE * 1.2


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} [A-Z][a-z]{2} \d{1,9} \d\d?:\d\d:\d\d [-+]?\w+"))
def test_any_header_is_read_without_a_crash(header: str) -> None:
    parse_retry_after(header, dt.datetime(2026, 6, 1, tzinfo=dt.UTC))


def test_dates_are_read_in_their_time_zone() -> None:
    now = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
    assert parse_retry_after("Mon, 01 Jun 2026 12:01:00 GMT", now) == 60
    assert parse_retry_after("Mon, 01 Jun 2026 12:01:00 -0000", now) == 60
    assert parse_retry_after(" 7 ", now) == 7
    assert parse_retry_after("-7", now) is None
    assert parse_retry_after("٣", now) is None


# The cache.


def _vcek_name(raw: bytes) -> str:
    return vcek_file(vcek_id_of_report(parse_report(raw), GENOA))


def test_a_certificate_that_was_signed_anew_is_the_same_key(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    old = replace(vek(), not_after=der.utc_time(machine.clock() - DAY)).der()
    machine.cache.folder.mkdir()
    path = machine.cache.folder / _vcek_name(genoa)
    path.write_bytes(old)
    new = machine.endorse(genoa).vek
    assert new != old
    assert parse_certificate(new, "VCEK").spki == parse_certificate(old, "VCEK").spki
    assert path.read_bytes() == new
    assert "a kept file is not used" in machine.told[0]
    assert "VCEK: valid from 2026-01-01" in machine.told[0]


def test_another_key_for_the_same_chip_and_tcb_is_refused_aloud(
    machine: Machine, server: KeyServer, genoa: bytes
) -> None:
    old = replace(vek(), not_after=der.utc_time(machine.clock() - DAY)).der()
    machine.cache.folder.mkdir()
    path = machine.cache.folder / _vcek_name(genoa)
    path.write_bytes(old)
    server.lies = {VCEK_PATH: "other-key"}
    error = machine.refusal(genoa)
    assert "its answer is refused: VCEK.spki: found" in str(error)
    assert "the key that is kept for this chip and TCB and that cannot change" in str(error)
    assert "Find out which of the two signs this machine's reports" in machine.told[-1]
    assert path.read_bytes() == old


BROKEN = {
    "empty": b"",
    "text": b"not a certificate",
    "cut": ASK.der()[:-5],
    "another certificate": ASK.der(),
    "too large": b"\x30" + bytes(1 << 20),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_and_fetched_anew(machine: Machine, server: KeyServer, genoa: bytes, name: str) -> None:
    machine.endorse(genoa)
    for at, path in enumerate(sorted(machine.cache.folder.iterdir()), 1):
        good = path.read_bytes()
        path.write_bytes(BROKEN[name])
        machine.told.clear()
        assert machine.outcome(genoa) == "authentic"
        assert len(machine.told) == 1
        assert f"a kept file is not used ({path}: found " in machine.told[0]
        assert len(server.requests) == 3 + at
        assert len(path.read_bytes()) == len(good)


def test_a_broken_file_and_no_server_is_an_error_that_names_it(machine: Machine, genoa: bytes) -> None:
    machine.endorse(genoa)
    path = machine.cache.folder / _vcek_name(genoa)
    path.write_bytes(b"rot")
    machine.url = dead_url()
    machine.restart()
    error = machine.refusal(genoa)
    assert f"a kept file is not used ({path}: found VCEK: 3 bytes that are neither" in str(error)
    assert "cannot be reached" in str(error)
    told = len(machine.told)
    machine.refusal(genoa)
    assert len(machine.told) == told, "each trouble is told once"


def test_a_cache_that_cannot_be_written_is_no_obstacle(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    machine.cache.folder.write_text("a file where the folder should be")
    assert machine.outcome(genoa) == "authentic"
    assert len([words for words in machine.told if "what was fetched is used and not kept" in words]) == 3
    told = len(machine.told)
    assert machine.outcome(genoa) == "authentic"
    assert len(server.requests) == 3, "AMD is not asked at each quote because a disk is full"
    assert len(machine.told) == told
    machine.clock.ahead = dt.timedelta(days=1.1)
    machine.endorse(genoa)
    machine.endorse(genoa)
    assert server.requests[3:] == ["/vcek/v1/Genoa/crl"]
    machine.clock.ahead = dt.timedelta(days=800)  # beyond that list, and a later one of the same life
    machine.cache.folder.unlink()
    server.crl_age = -machine.clock.ahead
    assert machine.outcome(genoa) == "authentic"
    assert len(machine.cache.names()) == 1, "what memory holds well is not fetched again for the disk"


def test_a_file_that_cannot_be_read_is_named(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    machine.endorse(genoa)
    path = machine.cache.folder / _vcek_name(genoa)
    path.unlink()
    path.symlink_to("/proc/self/mem")  # opens, and fails to read
    for _ in range(2):
        assert machine.outcome(genoa) == "authentic"
    assert len(server.requests) == 4
    assert f"a kept file is not used ({path}: cannot be read: Input/output error)" in machine.told[0]
    assert "what was fetched is used and not kept" in machine.told[1]
    assert len(machine.told) == 2


def test_the_list_is_refreshed_daily_and_used_until_it_ends(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    first = machine.endorse(genoa).crl
    machine.age_crl(dt.timedelta(hours=23))
    assert machine.endorse(genoa).crl == first
    assert server.asked(CRL_PATH) == 1
    server.crl_age = dt.timedelta(hours=1)
    machine.age_crl(dt.timedelta(hours=25))
    second = machine.endorse(genoa).crl
    assert second != first
    assert machine.endorse(genoa).crl == second
    assert server.asked(CRL_PATH) == 2
    # Stale while it holds; never beyond, and then back as soon as there is a new one.
    server.lies = {"/": "500"}
    machine.age_crl(dt.timedelta(days=3))
    assert machine.endorse(genoa).crl == second
    assert server.asked(CRL_PATH) == 3
    assert second is not None
    machine.clock.ahead = parse_crl(second).next_update - machine.clock() - dt.timedelta(minutes=1)
    assert machine.endorse(genoa).crl == second
    machine.clock.ahead += dt.timedelta(minutes=2)
    assert machine.endorse(genoa).crl is None
    server.lies, server.crl_age = {}, -machine.clock.ahead + dt.timedelta(hours=1)
    machine.clock.ahead += dt.timedelta(hours=1.5)
    assert machine.outcome(genoa) == "authentic"
    assert machine.endorse(genoa).crl not in (None, second)


def test_an_older_list_never_replaces_a_newer_one(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    newer = machine.endorse(genoa).crl
    server.crl_age = 5 * DAY
    machine.age_crl(2 * DAY)
    assert machine.endorse(genoa).crl == newer
    assert "its answer is refused: CRL.thisUpdate: found" in machine.told[-1]
    assert machine.endorse(genoa).crl == newer
    assert server.asked(CRL_PATH) == 2


def test_a_revoked_intermediate_is_for_the_verifier_to_name(machine: Machine, server: KeyServer, genoa: bytes) -> None:
    server.revoked = (2,)
    assert machine.outcome(genoa) == "rejected"


# Whose pins count.


def test_the_mock_root_is_no_ones_by_configuration(server: KeyServer, tmp_path: Path, genoa: bytes) -> None:
    told: list[str] = []
    endorse = CachedEndorser(CollateralCache(tmp_path / "c"), Kds(server.url), notice=told.append)
    with pytest.raises(Unavailable, match="its answer is refused: chain: found SAFEROUTER-MOCK-ASK"):
        complete_endorsements(parse_report(genoa), {}, endorse, DEVICE)
    assert "wanted AMD's SEV-Genoa 5464738c" in told[0]
    assert not CollateralCache(tmp_path / "c").names()


def test_amds_own_certificates_pass_and_a_swapped_product_does_not(
    server: KeyServer, tmp_path: Path, vectors: Path
) -> None:
    roots = vectors / "roots"
    server.files = {
        f"/{kind}/v1/{line.title()}/cert_chain": (roots / f"{name}-{line}.der").read_bytes()
        + (roots / f"ark-{line}.der").read_bytes()
        for line in ("milan", "genoa", "turin")
        for kind, name in (("vcek", "ask"), ("vlek", "asvk"))
    }
    asked = []
    for line in ("genoa-v3-vcek-microsoft", "turin-v5-vcek-microsoft", "milan-v2-vcek-virtee", "milan-v3-vcek-dstack"):
        raw = parse_report((vectors / "snp" / line / "report.bin").read_bytes())
        product = PRODUCTS[line.split("-")[0].title()]
        item = vcek_item(vcek_id_of_report(raw, product), parse_certificate(ASK.der(), "ASK"))
        server.files[item.path] = (vectors / "snp" / line / "vek.der").read_bytes()
        asked.append(raw)
    for raw in asked:
        endorse = CachedEndorser(CollateralCache(tmp_path / "c"), Kds(server.url))
        ends = complete_endorsements(raw, {}, endorse, DEVICE)
        assert parse_certificate(ends.vek, "VEK").subject_cn == "SEV-VCEK"
    assert len(CollateralCache(tmp_path / "c").names()) == 3 + 4
    server.files["/vcek/v1/Milan/cert_chain"] = server.files["/vcek/v1/Genoa/cert_chain"]
    endorse = CachedEndorser(CollateralCache(tmp_path / "d"), Kds(server.url))
    with pytest.raises(Unavailable, match=r"chain: found SEV-Genoa 5464738c.* wanted AMD's SEV-Milan 67d303bd"):
        complete_endorsements(asked[-1], {}, endorse, DEVICE)
    server.files["/vcek/v1/Milan/cert_chain"] = server.files["/vlek/v1/Milan/cert_chain"]
    with pytest.raises(Unavailable, match="chain: found SEV-VLEK-Milan"):
        complete_endorsements(asked[-1], {}, CachedEndorser(CollateralCache(tmp_path / "d"), Kds(server.url)), DEVICE)


# Booting.


class EndorsedChip:
    """A chip whose certificates come by way of an endorser, as they do on hardware."""

    tee_type = "mock"

    def __init__(self, machine: Machine, fields: dict[str, Any], **held: bytes) -> None:
        self._machine, self._fields, self._held = machine, fields, held

    def attest(self, report_data: bytes) -> Evidence:
        raw = report(self._fields | {"report_data": report_data})
        return Evidence(raw, self._machine.endorse(raw, **self._held))


def _boot(chip: EndorsedChip) -> str:
    """The boot quote of a gateway on that chip, as stored."""
    document = {"providers": [{"id": "mock", "family": "mock"}], "models": [{"id": "m", "provider": "mock"}]}
    identity, boot = Identity.generate(), BootKeys()
    workload = workload_document(
        decode_config(document, {}), "sha256:" + "0" * 64, bytes(identity.verify_key), SmallLog().key, boot
    )
    keys = WorkloadKeys(identity, boot, workload, 600, time.time)

    async def start() -> str:
        desk = QuoteDesk(chip, keys, Limits(), lambda _: {})
        await desk.adopt(keys.keyset, unlogged, 5)
        return json.dumps(desk.standing.quote)

    return asyncio.run(start())


async def unlogged(_keyset: Keyset, quote: Document) -> Document:
    """The log has tests of its own."""
    return quote


def test_a_boot_needs_no_server_where_host_and_cache_suffice(machine: Machine, genoa: bytes) -> None:
    machine.endorse(genoa)
    machine.url = dead_url()
    machine.restart()
    assert '"crl_b64": "' in _boot(EndorsedChip(machine, {}))


def test_an_ec2_guest_starts_on_its_hosts_vlek_and_a_kept_chain(machine: Machine, server: KeyServer) -> None:
    """Amazon's table holds one entry, the VLEK."""
    vlek = vek(vlek_values(), "SEV-VLEK").der()
    assert '"kind": "vlek"' not in _boot(EndorsedChip(machine, VLEK_FIELDS, vlek=vlek)), "a mock says that it is one"
    asked = len(server.requests)
    machine.url = dead_url()
    machine.restart()
    assert '"crl_b64": "' in _boot(EndorsedChip(machine, VLEK_FIELDS, vlek=vlek))
    assert len(server.requests) == asked
    with pytest.raises(Unavailable, match="there is no VLEK: "):
        _boot(EndorsedChip(machine, VLEK_FIELDS))


# Bytes from anywhere.


@settings(deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: ASK.der()[:40] + tail))
def test_any_bytes_are_read_or_refused_by_name(raw: bytes) -> None:
    for read in (
        lambda: [is_crl(blob, "file") for blob in split_blobs(raw, "file")],
        lambda: read_chain(raw, MILAN, SigningKey.VCEK, None),
    ):
        try:
            read()
        except Malformed:
            continue


@settings(deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"https?://[\w\[\]:.@/?#%-]{0,40}", fullmatch=True))
def test_any_url_is_read_or_refused_by_name(text: str) -> None:
    try:
        url = parse_kds_url(text, "kds_url")
    except Malformed as error:
        assert "of a key server, or nothing to ask none" in str(error)
    else:
        assert url is None or url.startswith("http")


def test_a_key_servers_url() -> None:
    assert parse_kds_url("", "kds_url") is None
    assert parse_kds_url("https://kds.example.com/amd/", "kds_url") == "https://kds.example.com/amd"
    for url in (
        "kds.example.com",
        "ftp://kds",
        "https://",
        "https://u:p@kds",
        "https://kds?x",
        "https://kds:99999",
        "https://a b",
        "https://kds/#",
        "https://kds/?",
        "https://no..such..name",
    ):
        with pytest.raises(Malformed, match="kds_url: found"):
            parse_kds_url(url, "kds_url")
