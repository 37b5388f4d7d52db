"""Release manifests in both languages, word by word; and what a verifier remembers of them."""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tee.canonical import encode_canonical, parse_json
from tee.errors import Malformed, Unavailable
from tee.evidence import Endorsements, Evidence
from tee.keys.binding import parse_nonce
from tee.measure.envelope import Signers
from tee.measure.manifest import parse_manifest
from tee.measure.memory import load_seen, remember
from tee.measure.releases import Releases, accepting, check_release, judge_manifests
from tee.policy import decode_policy
from tee.verify import verify_quote, verify_report
from tests.test_parsers import JSON
from tests.test_vectors import FILES, PLACEHOLDER, SHARED
from tests.vectors.certificates import NOW
from tests.vectors.faults_manifest import (
    BY_RELEASE,
    DAY,
    OTHER_MEASUREMENT,
    RELEASES,
    chain,
    envelope,
    measured,
    predicate,
    signed,
    statement,
)
from tests.vectors.reports import MEASUREMENT, report
from tests.vectors.world import GENOA
from tests.worlds.transcript import Ask, Json, as_document, b64, browser_core

SIGNERS = Signers(tuple(map(bytes.fromhex, RELEASES["keys"])), RELEASES["threshold"])
RELEASE = "code.release"
ENDORSEMENTS = Endorsements(GENOA.vek.raw, GENOA.intermediate.raw, GENOA.ark.raw, GENOA.crl.raw if GENOA.crl else None)
REPORT = Evidence(report(), ENDORSEMENTS)
IMAGE = {"pcr4": "04" * 48, "pcr7": "07" * 48, "pcr12": "12" * 48}
BUILD = {"source_digest": predicate()["build"]["source_digest"], "image_digest": None, "repo_commit": None}


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """One node process for the whole module."""
    with browser_core() as exchange:
        yield exchange


def raws(*envelopes: Json) -> list[bytes]:
    return [json.dumps(envelope).encode() for envelope in envelopes]


def releases(*envelopes: Json, seen: int | None = None, now: dt.datetime = NOW) -> Releases:
    return judge_manifests(raws(*envelopes), SIGNERS, now=now, seen=seen)


def fault(*envelopes: Json, **circumstances: Any) -> str:
    return str(releases(*envelopes, **circumstances).fault)


def test_both_say_the_same_of_every_vector(ask: Ask) -> None:
    """Complete verdicts, so that every word of every refusal is the same."""
    vectors = [json.loads(path.read_text()) for path in FILES if path.parent.name == "manifest"]
    assert len(vectors) > 100
    for vector in vectors:
        now, policy = dt.datetime.fromisoformat(vector["now"]), decode_policy(vector["policy"])
        text = PLACEHOLDER.sub(lambda match: SHARED[match[1]], b64decode(SHARED[vector["quote"]]).decode())
        manifests = [each.encode() for each in vector["manifests"]]
        assert policy.releases
        least = policy.minimum_sequence
        judged = judge_manifests(manifests, policy.releases, now=now, minimum=least, seen=vector["seen"])
        verdict = verify_quote(
            parse_json(text.encode(), "quote"),
            now=now,
            policy=policy,
            nonce=parse_nonce(vector["nonce"]),
            audience=vector["audience"],
            accept_mock=vector["accept_mock"],
            releases=judged if manifests else None,
        )
        request = vector | {"kind": "manifest", "document": b64(text.encode()), "manifests": [*map(b64, manifests)]}
        assert ask(request) == as_document(verdict), vector["about"]


CASES: dict[str, tuple[str, str]] = {
    "one signature": (fault(envelope(statement(), ("release-1",))), "good signatures by 1, wanted 2 of the 3 keys"),
    "expired": (
        fault(signed(), now=NOW + 30 * DAY),
        "manifests: found manifest 7, expired since 2026-07-15T12:00:00Z, wanted a newer one",
    ),
    "rolled back": (fault(signed(), seen=12), "found manifest 7, wanted at least manifest 12, seen here before"),
    "a gap": (fault(*chain(statement(), previous=None)), "found manifest 8 after none, wanted after sha256:"),
    "none": (fault(), "manifests: found 0, wanted 1 to 64"),
    "too many": (fault(*[signed()] * 65), "manifests: found 65, wanted 1 to 64"),
    "unknown name": (fault(signed(extra=1)), "manifests[0].payload.predicate.extra: found an unknown member"),
    "not canonical": (fault(envelope(json.dumps(statement()).encode())), "found another spelling, wanted the RFC 8785"),
}


@pytest.mark.parametrize(("said", "expected"), CASES.values(), ids=CASES.keys())
def test_a_refusal_says_what_is_wrong(said: str, expected: str) -> None:
    assert expected in said


FIRMWARE = measured(covers="firmware", platform="ec2")
IMAGES: dict[str, tuple[Json | None, list[Json], str]] = {
    "its image": (IMAGE, [IMAGE], "pass"),
    "one of its images": (IMAGE, [dict.fromkeys(IMAGE, "00" * 48), IMAGE], "pass"),
    "another command line": (IMAGE, [IMAGE | {"pcr12": "00" * 48}], "fail"),
    "no image released": (IMAGE, [], "fail"),
    "no evidence of an image": (None, [IMAGE], "fail"),
}


@pytest.mark.parametrize(("image", "images", "expected"), IMAGES.values(), ids=IMAGES.keys())
@pytest.mark.parametrize("build", [BUILD, BUILD | {"source_digest": "sha256:" + "0" * 64}, None])
def test_firmware_needs_a_boot_image_of_its_release(
    ask: Ask, image: Json | None, images: list[Json], expected: str, build: Json | None
) -> None:
    given = raws(signed(measurements=[FIRMWARE], boot_images=images))
    judged = judge_manifests(given, SIGNERS, now=NOW)
    check = check_release(judged, MEASUREMENT.hex(), build, tuple(image.values()) if image else None)
    another_build = build not in (BUILD, None)
    assert check.outcome.value == ("fail" if another_build else expected)
    request = {"kind": "release", "manifests": [*map(b64, given)], "policy": BY_RELEASE, "now": NOW.isoformat()}
    found = ask(
        request | {"seen": None, "measurement": MEASUREMENT.hex(), "build": build, "image": image and [*image.values()]}
    )
    assert found == asdict(check) | {"outcome": check.outcome.value}


def test_measurements_of_firmware_are_accepted_only_as_such() -> None:
    policy = decode_policy(BY_RELEASE)
    rows = [measured(), measured(OTHER_MEASUREMENT, covers="firmware")]
    accepted = accepting(policy, releases(signed(measurements=rows, boot_images=[IMAGE, IMAGE])))
    assert accepted.measurements == (MEASUREMENT.hex(),)
    assert accepted.firmware_measurements == (OTHER_MEASUREMENT,)
    assert accepted.boot_images == (tuple(IMAGE.values()),)
    assert accepting(policy, None) == policy


def test_a_policy_without_release_keys_takes_nothing_from_a_manifest() -> None:
    """Even where a program hands it one: its signatures were judged under somebody else's keys."""
    policy = decode_policy({"measurements": [OTHER_MEASUREMENT]})
    assert accepting(policy, releases(signed())) == policy


def test_a_manifest_raises_a_floor_and_never_lowers_it() -> None:
    policy = decode_policy(BY_RELEASE | {"tcb_floor": {"Genoa": {"snp": 27, "tee": 3}}})
    floor = {"Genoa": {"snp": 28, "tee": 2, "bootloader": 5}, "Milan": {"snp": 1}}
    found = accepting(policy, releases(signed(tcb_floor=floor))).tcb_floor
    assert found["Genoa"] == {"snp": 28, "tee": 3, "bootloader": 5}
    assert found["Milan"] == policy.tcb_floor["Milan"]


REPORTS: dict[str, tuple[list[Json], str, list[str]]] = {
    "listed": ([signed()], "verified", []),
    "no manifest": ([], "rejected", []),
    "not listed": ([signed(measurements=[measured(OTHER_MEASUREMENT)])], "rejected", ["code.measurement", RELEASE]),
    "under-signed": ([envelope(statement(), ("release-1",))], "rejected", [RELEASE]),
}


@pytest.mark.parametrize(("given", "outcome", "fails"), REPORTS.values(), ids=REPORTS.keys())
def test_a_bare_report_is_judged_by_manifests_too(given: list[Json], outcome: str, fails: list[str]) -> None:
    judged = releases(*given) if given else None
    verdict = verify_report(REPORT, now=NOW, policy=decode_policy(BY_RELEASE), accept_mock=True, releases=judged)
    assert (verdict.outcome, list(verdict.failures())) == (outcome, fails)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_value_anywhere_raises_nothing_but_malformed(data: st.DataObject) -> None:
    retired = {"release": "saferouter 0.0.1", "since": 0, "reason": "old"}
    whole = statement(predicate(boot_images=[IMAGE], tcb_floor={"Milan": {"snp": 1}}, retired=[retired]))
    document = deepcopy(whole)  # it is changed below, and its parts belong to every test
    assert parse_manifest(encode_canonical(document), "manifest").sequence == 7
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(range(len(place)) if isinstance(place, list) else sorted(place)))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(JSON)
        break
    with suppress(Malformed):
        parse_manifest(encode_canonical(document), "manifest")


def test_the_highest_sequence_is_remembered_for_each_set_of_keys(tmp_path: Path) -> None:
    memory = tmp_path / "new" / "manifests.json"
    assert load_seen(memory, SIGNERS) is None
    for sequence in (4, 9, 7):
        remember(memory, SIGNERS, sequence)
    assert load_seen(memory, SIGNERS) == 9
    assert memory.stat().st_mode & 0o777 == 0o600
    others = Signers(SIGNERS.keys[:1], 1)
    assert load_seen(memory, others) is None
    remember(memory, others, 1)
    # The same people in another order, or more of them needed: the same line of releases.
    assert load_seen(memory, Signers(SIGNERS.keys[::-1], 3)) == 9


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "7"}', '{"a": 0}', '{"a": true}', '{"a": 1.5}', " " * 70000])
def test_a_broken_memory_is_an_error_and_no_fresh_start(tmp_path: Path, text: str) -> None:
    memory = tmp_path / "manifests.json"
    memory.write_text(text)
    with pytest.raises(Malformed):
        load_seen(memory, SIGNERS)


def test_a_memory_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        load_seen(tmp_path / "file" / "manifests.json", SIGNERS)
    with pytest.raises(Unavailable):
        load_seen(tmp_path, SIGNERS)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(Unavailable, match="a rollback would go unseen"):
        remember(tmp_path / "nowhere" / "manifests.json", SIGNERS, 1)
