"""A release must have stood in its log, cosigned, before it is believed: on the command line, and in both verifiers."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tee.canonical import parse_json
from tee.evidence import Endorsements, Evidence
from tee.keys.binding import parse_nonce
from tee.policy import decode_policy, parse_policy
from tee.verify import verify_quote, verify_report
from tests.test_vectors import FOLDER, SHARED, _filled
from tests.worlds.gateway import RunningGateway, run_cli
from tests.worlds.release import ReleaseOwner, manifest
from tests.worlds.transcript import Ask, Json, as_document, b64, browser_core, or_malformed, with_changed_byte
from tests.worlds.witness import RunningWitness

CONFIG = 'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'
ROUNDS = 150


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with browser_core() as exchange:
        yield exchange


def same(ask: Ask, vector: Json, announcement: bytes | None) -> Json:
    """Both sides' verdict on a vector with this announcement; it must be one."""
    raw = _filled(vector["document"])
    line = {name: vector[name] for name in ("now", "policy", "accept_mock", "nonce", "audience")}
    found = ask({"kind": "quote", "document": b64(raw), "announcement": b64(announcement)} | line)

    def judge() -> Json:
        nonce = None if vector["nonce"] is None else parse_nonce(vector["nonce"])
        verdict = verify_quote(
            parse_json(raw, "quote"),
            now=dt.datetime.fromisoformat(vector["now"]),
            policy=decode_policy(vector["policy"]),
            nonce=nonce,
            audience=vector["audience"],
            accept_mock=vector["accept_mock"],
            announcement=announcement,
        )
        return as_document(verdict)

    assert found == or_malformed(judge)
    return found


def read_vectors(pattern: str) -> list[Json]:
    assert SHARED
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob(pattern))]


def test_every_announcement_is_judged_in_the_same_words(ask: Ask) -> None:
    for vector in read_vectors("announcement/*.json"):
        given = vector["announcement"]
        found = same(ask, vector, None if given is None else base64.b64decode(given))
        assert found["verdict"] == vector["expect"]["verdict"], vector["about"]
        told = [line for line in found["not_proven"] if line.startswith("code.announcement: a proof of inclusion")]
        assert bool(told) is (found["verdict"] == "verified" and "announcement" in vector["policy"])


def test_announcements_with_a_changed_byte(ask: Ask) -> None:
    chance = random.Random(16)
    (good,) = read_vectors("announcement/000-*.json")
    raw = base64.b64decode(good["announcement"])
    for _ in range(ROUNDS):
        same(ask, good, with_changed_byte(raw, chance))


def test_a_bare_report_is_asked_for_its_announcement_too(ask: Ask) -> None:
    (plain,), (good,) = read_vectors("report/000-*.json"), read_vectors("announcement/000-*.json")
    parts = [plain["report"], *(SHARED[plain[part]] for part in ("vek", "intermediate", "ark", "crl"))]
    report, vek, intermediate, ark, crl = map(base64.b64decode, parts)
    given = dict(zip(("report", "vek", "intermediate", "ark", "crl"), parts, strict=True))
    line = {"kind": "report", "now": good["now"], "policy": good["policy"], "accept_mock": True} | given
    for announcement, outcome in ((base64.b64decode(good["announcement"]), "verified"), (None, "rejected")):
        verdict = verify_report(
            Evidence(report, Endorsements(vek, intermediate, ark, crl)),
            now=dt.datetime.fromisoformat(good["now"]),
            policy=decode_policy(good["policy"]),
            accept_mock=True,
            announcement=announcement,
        )
        assert ask(line | {"announcement": b64(announcement)}) == as_document(verdict)
        assert verdict.outcome == outcome, verdict.sentence()


def test_demands_that_do_not_load_are_refused_in_the_same_words(ask: Ask) -> None:
    vectors = read_vectors("policy/*announcement*.json")
    assert len(vectors) > 15
    for vector in vectors:
        raw = vector["document"].encode()
        found = ask({"kind": "policy", "document": b64(raw)})
        assert found == or_malformed(lambda raw=raw: {"loads": bool(parse_policy(raw))}), vector["about"]  # type: ignore[misc]


def verify(target: str | Path, policy: Path, *options: str | Path) -> tuple[int, Any]:
    done = run_cli("verify", target, "--policy", policy, "--accept-mock", "--json", *options)
    verdict = json.loads(done.stdout) if done.stdout else {"checks": []}
    check = next((check for check in verdict["checks"] if check["id"] == "code.announcement"), None)
    return done.returncode, check or done.stderr


def test_a_gateway_whose_release_was_announced(tmp_path: Path, chip_file: Path) -> None:
    owner = ReleaseOwner(tmp_path)
    with (
        RunningGateway(tmp_path / "gateway", config=CONFIG, chip=chip_file) as gateway,
        RunningWitness(tmp_path / "witness", owner.vkey) as witness,
    ):
        measurement = tomllib.loads(gateway.policy.read_text())["measurements"][0]
        witnesses = tmp_path / "witnesses"
        witnesses.write_text(f"log {owner.vkey}\nwitness w {witness.key.encode()} {witness.url}\nquorum w\n")

        def policy(hours: int) -> Path:
            text = f'measurements = ["{measurement}"]\n[announcement]\nlog = "{owner.vkey}"\nminimum_hours = {hours}\n'
            path = tmp_path / f"policy-{hours}.toml"
            path.write_text(f"{text}witnesses = '''\n{witnesses.read_text()}'''\n")
            return path

        code, check = verify(gateway.url, policy(0))
        assert (code, check["outcome"]) == (1, "skip")
        assert check["reason"] == "your policy demands an announcement, and none was given"
        said = owner.announce(manifest(measurement), "--policy", witnesses)
        file = Path(said["announcement"])
        code, check = verify(gateway.url, policy(0), "--announcement", file, "--save", tmp_path / "bundle")
        assert (code, check["outcome"], "saferouter 1.0, entry 0 of " in check["found"]) == (0, "pass", True), check
        assert verify(tmp_path / "bundle", policy(0), "--announcement", file)[0] == 0
        assert verify(tmp_path / "bundle", policy(0))[0] == 1

        (tmp_path / "gateway.toml").write_text(f'announcement = "{file}"\n{CONFIG}')
        gateway.restart()
        code, check = verify(gateway.url, policy(0))
        assert (code, check["outcome"]) == (0, "pass"), check
        code, check = verify(gateway.url, policy(1))
        assert (code, check["outcome"], "at least 1 hours before" in check["wanted"]) == (1, "fail", True)
        other = owner.announce(manifest("ab" * 48, version="1.1"), "--policy", witnesses)
        code, check = verify(gateway.url, policy(0), "--announcement", other["announcement"])
        assert (code, check["found"]) == (1, "saferouter 1.1, without this measurement")
        code, words = verify(gateway.url, gateway.policy, "--announcement", file)
        assert (code, "a table [announcement] in --policy" in words) == (2, True)

        (tmp_path / "gateway.toml").write_text(f'announcement = "{owner.key}"\n{CONFIG}')
        gateway.stop()
        with pytest.raises(RuntimeError, match=r"config\.announcement\.leaf_b64: found nothing"):
            gateway.start()
        (tmp_path / "gateway.toml").write_text(f'announcement = "{tmp_path / "none"}"\n{CONFIG}')
        with pytest.raises(RuntimeError, match=r"config\.announcement: found No such file"):
            gateway.start()
