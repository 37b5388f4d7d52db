"""What a tenant is told of its calls: an entry for each attempt, their sums, its newest calls, and its providers."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_fallback import ANSWER, CHUNK, DONE, FINISH, OTHER, ROLE, STREAM, failing
from tests.worlds.fallback import KEYS, Providers, running_providers
from tests.worlds.gateway import Answered, chat_body
from tests.worlds.upstream import Recording
from tests.worlds.workers import wait_for

NAMES = ["walk", "fault", "plain", "sums", "left", "csv", "health"]
SETTINGS = """
[retry]
base_milliseconds = 1
[breaker]
failures = 64
"""
SAYS_FAULT = b"FAULT"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Providers]:
    state = tmp_path_factory.mktemp("activity", numbered=False) / "state"
    command = (sys.executable, "-m", "tests.worlds.faulty_gateway")
    with running_providers(state, chip_file, NAMES, SETTINGS, command) as providers:
        yield providers


def get(world: Providers, path: str, status: int = 200) -> Any:
    with world.gateway.client() as client:
        answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def entries(world: Providers, answered: Answered) -> list[dict[str, Any]]:
    """The entries of one call, the first attempt first."""
    world.gateway.fetch_receipt(answered.receipt_id)
    found = get(world, "/v1/activity?limit=1000")["data"]
    return [row for row in reversed(found) if row["receipt_id"] == answered.receipt_id]


def test_each_attempt_is_an_entry_and_one_bears_what_the_caller_got(world: Providers) -> None:
    world.first.play(failing(503))
    world.second.play(OTHER)
    answered = world.gateway.ask("hi", "walk")
    assert answered.status == 200
    first, second, third = entries(world, answered)
    assert [row["attempt"] for row in (first, second, third)] == [1, 2, 3]
    assert [row["shown"] for row in (first, second, third)] == [False, False, True]
    assert [row["original_model"] for row in (first, second, third)] == ["walk"] * 3
    assert [row["model"] for row in (first, second, third)] == ["walk", "walk", "walk-other"]
    assert [row["provider"] for row in (first, second, third)] == ["walk-at", "walk-at", "walk-second"]
    assert [row["status"] for row in (first, second, third)] == [503, 503, 200]
    assert [row["completion_tokens"] for row in (first, second, third)] == [None, None, 2]
    assert 0 == first["waited_ms"] <= second["waited_ms"] <= third["waited_ms"] <= third["milliseconds"]
    assert {row["id"] for row in (first, second, third)} == {
        f"act-{answered.receipt_id[5:]}-{number}" for number in (1, 2, 3)
    }
    assert third["policy"] == "default" and third["tier"] == "quarantine" and third["key_id"].startswith("key")
    assert world.gateway.api_key.startswith(third["key_prefix"].removesuffix("…"))


def test_an_entry_of_what_nobody_was_asked_for_says_why(world: Providers) -> None:
    answered = world.gateway.ask("hi", "=nobody+has+this")
    (row,) = entries(world, answered)
    assert (row["attempt"], row["status"], row["failure"]) == (0, 404, "model_not_found")
    assert (row["model"], row["original_model"], row["provider"]) == (None, "=nobody+has+this", None)


def test_all_fail_and_the_entry_says_what_the_caller_got_and_the_provider(world: Providers) -> None:
    world.first.play(failing(401))
    answered = world.gateway.ask("hi", "walk-alone")
    (row,) = entries(world, answered)
    assert answered.status == row["status"] == 502
    assert row["provider_status"] == 401


def test_after_a_fault_of_ours_the_entry_says_what_the_client_got(world: Providers) -> None:
    world.first.play(Recording(b'{"id":"FAULT","choices":[]}', "application/json"))
    answered = world.gateway.ask("hi", "fault-alone")
    assert answered.status == 500
    path = "/v1/activity?model=fault-alone"
    wait_for(lambda: bool(get(world, path)["data"]), 30, "an entry")  # it is durable soon after such an answer
    (row,) = get(world, path)["data"]
    assert (row["status"], row["attempt"], row["partial"]) == (500, 1, False)


def test_after_a_fault_of_ours_in_a_stream_it_says_200_and_partial(world: Providers) -> None:
    world.first.play(Recording(ROLE + CHUNK.replace(b"first", SAYS_FAULT) + FINISH + DONE))
    with world.gateway.client() as client, pytest.raises(Exception, match=r"peer|incomplete|closed"):
        client.post("/v1/chat/completions", content=chat_body("hi", "fault-keys", stream=True))
    receipt_id = world.newest_call("their-fault-keys")
    row = world.wait_for_activity(receipt_id)
    assert (row["status"], row["partial"]) == (200, 1)


def test_who_left_is_told_as_499(world: Providers) -> None:
    world.first.play(Recording(ROLE + CHUNK, ending="hold"))
    body = chat_body("hi", "left-alone", stream=True)
    with (
        world.gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", content=body) as response,
    ):
        assert next(response.iter_raw())
        receipt_id = response.headers["x-receipt-id"]
    row = world.wait_for_activity(receipt_id)
    assert (row["status"], row["partial"]) == (499, 1)


def test_a_stream_says_when_its_first_word_came(world: Providers) -> None:
    world.first.play(STREAM)
    (streamed,) = entries(world, world.gateway.ask("hi", "plain-alone", stream=True))
    world.first.play(ANSWER)
    (buffered,) = entries(world, world.gateway.ask("hi", "plain-alone"))
    assert 0 <= streamed["first_token_ms"] <= streamed["milliseconds"]
    assert buffered["first_token_ms"] is None


def test_filters_pages_and_the_same_in_a_csv(world: Providers) -> None:
    world.first.play(ANSWER)
    asked = [world.gateway.ask("hi", "csv-alone").receipt_id for _ in range(3)]
    for receipt_id in asked:
        world.gateway.fetch_receipt(receipt_id)
    world.gateway.ask("hi", "=cmd|' /C calc'!A0")
    whole = get(world, "/v1/activity?model=csv-alone")
    assert [row["receipt_id"] for row in whole["data"]] == asked[::-1]
    assert not whole["has_more"]
    page = get(world, "/v1/activity?model=csv-alone&limit=2")
    assert page["has_more"] and page["data"] == whole["data"][:2]
    rest = get(world, f"/v1/activity?model=csv-alone&limit=2&after={page['last_id']}")
    assert not rest["has_more"] and rest["data"] == whole["data"][2:]
    for query in ("status=200", "status=2xx", "provider=csv-single", "key=self", "policy=default", "since=1"):
        assert get(world, f"/v1/activity?model=csv-alone&{query}")["data"] == whole["data"], query
    for query in ("status=5xx", "provider=csv-at", "key_id=nobody", "policy=other", "until=1"):
        assert get(world, f"/v1/activity?model=csv-alone&{query}")["data"] == [], query
    with world.gateway.client() as client:
        answer = client.get("/v1/activity?format=csv&limit=9")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 9
    listed = get(world, "/v1/activity?limit=9")["data"]
    assert [row["id"] for row in rows] == [row["id"] for row in listed]
    assert rows[0]["original_model"] == "'=cmd|' /C calc'!A0"
    assert (rows[1]["original_model"], rows[1]["cost_usd"], rows[1]["status"]) == ("csv-alone", "", "200")


def test_what_is_asked_wrongly_is_refused_in_words(world: Providers) -> None:
    wrong = [
        *("limit=0", "limit=1001", "limit=x", "format=xml", "status=9", "key=other", "since=now"),
        *("after=act-1", f"after=act-{'0' * 32}-1", f"model={'m' * 300}"),
    ]
    for query in wrong:
        error = get(world, f"/v1/activity?{query}", 400)["error"]
        assert error["param"] == query.split("=")[0], query


def test_a_summary_adds_calls_up_and_attempts_for_providers(world: Providers) -> None:
    world.first.play(failing(500))
    world.second.play(OTHER)
    for _ in range(3):
        world.gateway.fetch_receipt(world.gateway.ask("hi", "sums").receipt_id)
    world.first.play(failing(400))
    world.gateway.fetch_receipt(world.gateway.ask("hi", "sums-alone").receipt_id)
    whole = get(world, "/v1/activity/summary")
    models = {row["name"]: row for row in whole["by_model"]}
    assert (models["sums-other"]["calls"], models["sums-other"]["success_rate"]) == (3, 1.0)
    assert (models["sums-alone"]["calls"], models["sums-alone"]["success_rate"]) == (1, 0.0)
    assert models["sums-alone"]["p50_ms"] is None
    assert "sums" not in models
    providers = {row["name"]: row for row in whole["by_provider"]}
    assert (providers["sums-at"]["calls"], providers["sums-at"]["success_rate"]) == (6, 0.0)
    assert (providers["sums-second"]["calls"], providers["sums-second"]["success_rate"]) == (3, 1.0)
    assert sum(row["calls"] for row in whole["by_model"]) == whole["calls"]
    assert sum(bar["calls"] for bar in whole["series"]) == whole["calls"]
    assert whole["series"] == sorted(whole["series"], key=lambda bar: int(bar["at"]))
    one = get(world, "/v1/activity/summary?model=sums-other")
    assert (one["calls"], one["success_rate"]) == (3, 1.0)
    assert 0 < one["p50_ms"] <= one["p95_ms"]
    none = get(world, "/v1/activity/summary?model=nobody")
    assert (none["calls"], none["success_rate"], none["p50_ms"], none["series"]) == (0, None, None, [])


def test_recent_calls_carry_the_block_of_their_answers(world: Providers) -> None:
    world.first.play(failing(500))
    world.second.play(OTHER)
    answered = world.gateway.ask("hi", "plain")
    world.gateway.fetch_receipt(answered.receipt_id)
    world.first.play(failing(422))
    refused = world.gateway.ask("hi", "no-such-model")
    world.gateway.fetch_receipt(refused.receipt_id)
    newest, before = get(world, "/v1/calls?limit=2")["data"]
    assert before["attestation"] == answered.json["attestation"]
    assert (before["model"], before["policy"], before["status"]) == ("plain-other", "default", 200)
    assert before["id"] == "call-" + answered.receipt_id[5:]
    assert newest["attestation"] == dict.fromkeys(newest["attestation"]) | {"receipt_id": refused.receipt_id}
    assert newest["status"] == 404
    get(world, "/v1/calls?limit=101", 400)


def test_providers_are_told_without_a_word_of_their_keys(world: Providers) -> None:
    whole = get(world, "/v1/providers")
    rows = {row["id"]: row for row in whole["data"]}
    assert rows["plain-at"]["kind"] == "vllm"
    assert rows["plain-at"]["serves_models"] == ["plain", "plain-keys"]
    assert rows["plain-at"]["endpoint"] == world.first.base_url
    assert rows["plain-at"]["api_key_id"] == "env:FIRST_KEY"
    assert rows["plain-second"]["kind"] == "anthropic"
    health = get(world, "/v1/providers/health")
    for secret in KEYS.values():
        assert secret not in json.dumps([whole, health])


def test_health_counts_what_providers_did_and_not_what_callers_did(world: Providers) -> None:
    world.first.play(ANSWER, failing(503), failing(503), failing(400), failing(401))
    asked = [world.gateway.ask("hi", "health-alone") for _ in range(4)]
    assert [each.status for each in asked] == [200, 503, 400, 502]
    world.gateway.fetch_receipt(asked[-1].receipt_id)
    (row,) = [
        each for each in get(world, "/v1/providers/health")["providers"] if each["provider_id"] == "health-single"
    ]
    assert (row["successes"], row["failures"], row["last_error"]) == (2, 2, "status 503")
    assert 0 <= row["latency_p50_ms"] <= row["latency_p95_ms"]
    assert row["score"] == pytest.approx((2 + 4) / (4 + 4), abs=0.01)
    untried = next(
        each for each in get(world, "/v1/providers/health")["providers"] if each["provider_id"] == "health-at"
    )
    assert (untried["successes"], untried["latency_p50_ms"], untried["score"]) == (0, None, 1.0)


def test_nothing_is_told_to_whoever_shows_no_key(world: Providers) -> None:
    for path in ("activity", "activity/summary", "calls", "providers", "providers/health"):
        with world.gateway.client("sk-router-nobody") as client:
            assert client.get(f"/v1/{path}").status_code == 401, path
