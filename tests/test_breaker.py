"""A target that fails again and again is spared, and comes back; a provider that says nothing is not waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.test_fallback import ANSWER, CHUNK, DONE, FINISH, JSON, OTHER, OTHER_STREAM, ROLE, failing, outcomes
from tests.worlds.fallback import Providers, running_providers
from tests.worlds.gateway import chat_body
from tests.worlds.scrape import scrape_until
from tests.worlds.upstream import Recording

USAGE = b'data: {"id":"c-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
SPARING = """
[retry]
attempts = 1
[breaker]
failures = 3
window_seconds = 3600
rest_seconds = 2
"""
IMPATIENT = """
drain = true
[retry]
base_milliseconds = 1
[limits]
first_token_seconds = 2
total_seconds = 10
"""


@pytest.fixture(scope="module")
def sparing(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Providers]:
    state = tmp_path_factory.mktemp("sparing", numbered=False) / "state"
    with running_providers(state, chip_file, ["storm", "lonely"], SPARING) as providers:
        yield providers


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[Providers]:
    state = tmp_path_factory.mktemp("impatient", numbered=False) / "state"
    with running_providers(state, chip_file, ["mute", "stalls", "endless", "left", "unread"], IMPATIENT) as providers:
        yield providers


def test_a_storm_opens_the_breaker_and_a_probe_closes_it(sparing: Providers) -> None:
    sparing.first.play(failing(503))
    sparing.second.play(OTHER)
    for number in range(1, 4):
        assert sparing.gateway.ask("hi", "storm").headers["x-saferouter-fallback-to"] == "storm-other"
        assert len(sparing.first.received) == number
    spared = sparing.gateway.ask("hi", "storm")
    assert len(sparing.first.received) in (3, 4)  # a machine that slept for the whole rest has sent the probe
    if len(sparing.first.received) == 3:
        assert outcomes(sparing.gateway.verified(spared).events["attempts"]["tried"]) == [200]
    sparing.first.play(ANSWER)
    deadline = time.monotonic() + 30
    while "x-saferouter-fallback-to" in sparing.gateway.ask("hi", "storm").headers:
        assert time.monotonic() < deadline, "the target is spared for ever"
        time.sleep(0.1)
    assert len(sparing.first.received) == 1
    again = sparing.gateway.ask("hi", "storm")
    assert "x-saferouter-fallback-to" not in again.headers
    assert len(sparing.first.received) == 2


def test_where_nobody_stands_in_a_breaker_refuses_nobody(sparing: Providers) -> None:
    sparing.first.play(failing(503))
    for _ in range(5):
        assert sparing.gateway.ask("hi", "lonely-alone").status == 503
    assert len(sparing.first.received) == 5
    sparing.first.play(ANSWER)
    assert sparing.gateway.ask("hi", "lonely-alone").status == 200


@pytest.mark.parametrize(
    ("name", "recording"), [("mute", Recording(b"", ending="silence")), ("stalls", Recording(ROLE, ending="hold"))]
)
def test_a_stream_that_does_not_begin_in_time_is_another_models(
    impatient: Providers, name: str, recording: Recording
) -> None:
    impatient.first.play(recording)
    impatient.second.play(OTHER_STREAM)
    answered = impatient.gateway.ask("hi", name, stream=True)
    assert b"from the other" in answered.raw
    told = impatient.gateway.verified(answered).events["attempts"]
    assert outcomes(told["tried"]) == ["upstream_timeout", 200]
    assert told["tried"][0]["milliseconds"] >= 2000
    assert impatient.first.abandoned.wait(20)


def test_a_stream_that_never_ends_is_ended_in_its_own_language(impatient: Providers) -> None:
    impatient.first.play(Recording(ROLE + CHUNK, ending="hold"))
    answered = impatient.gateway.ask("hi", "endless-alone", stream=True)
    assert answered.raw.startswith(ROLE + CHUNK)
    error = json.loads(answered.raw.rstrip().rsplit(b"data: ", 1)[1])["error"]
    assert (error["code"], error["message"]) == ("upstream_timeout", "The answer took too long as a whole.")
    assert b"[DONE]" not in answered.raw
    impatient.gateway.verified(answered, complete=False)
    assert impatient.first.abandoned.wait(20)


def test_an_answer_that_never_comes_is_a_refusal(impatient: Providers) -> None:
    impatient.first.play(Recording(b"", JSON, ending="silence"))
    answered = impatient.gateway.ask("hi", "unread-alone")
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_timeout")
    impatient.gateway.verified(answered)


def test_a_stream_whose_client_left_is_read_on_for_what_it_used(impatient: Providers) -> None:
    impatient.first.play(Recording(ROLE + CHUNK, after=FINISH + USAGE + DONE))
    body = chat_body("hi", "left-alone", stream=True)
    with (
        impatient.gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", content=body) as response,
    ):
        pieces, got = response.iter_raw(), b""
        while len(got) < len(ROLE + CHUNK):
            got += next(pieces)
        receipt_id = response.headers["x-receipt-id"]
    impatient.gateway.ask("hi", "gone")  # what reads this has seen the other leave
    scrape_until(impatient.gateway, lambda now: now.sum("saferouter_open_calls") == 1)  # what is read on holds a place
    impatient.first.gate.set()
    row = impatient.wait_for_activity(receipt_id)
    assert (row["status"], row["prompt_tokens"], row["completion_tokens"], row["partial"]) == (499, 3, 2, True)
    raw = impatient.gateway.fetch_receipt(receipt_id)
    assert impatient.gateway.judge(raw, body, got).failures() == ("receipt.complete",)
    assert not impatient.first.abandoned.is_set()


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_whose_client_left_before_it_began_is_read_for_what_it_used(
    impatient: Providers, stream: bool
) -> None:
    whole = b'{"id":"c-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
    after, kind = (CHUNK + FINISH + USAGE + DONE, "text/event-stream") if stream else (whole, JSON)
    impatient.first.play(Recording(b"", kind, after=after))
    with impatient.gateway.client() as client, pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/chat/completions", content=chat_body("hi", "unread-keys", stream=stream), timeout=0.5)
    impatient.gateway.ask("hi", "gone")
    impatient.first.gate.set()
    receipt_id = impatient.newest_call("their-unread-keys")
    row = impatient.wait_for_activity(receipt_id)
    assert (row["status"], row["prompt_tokens"], row["completion_tokens"]) == (499, 3, 2)
    events = [event["type"] for event in json.loads(impatient.gateway.fetch_receipt(receipt_id))["event_log"]]
    assert not stream or "upstream.verified" in events
