"""Rates over real sockets: who has used up a minute is told so, exactly, by one process and by two workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.worlds.gateway import PLAIN, RunningGateway
from tests.worlds.minting import minted_key
from tests.worlds.workers import wait_for

MINUTE = 61  # seconds that anybody has to wait at most
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
SAID = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module", params=[1, 2], ids=["one-process", "two-workers"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, chip_file: Path
) -> Iterator[RunningGateway]:
    workers = {"SAFEROUTER_WORKERS": str(request.param)}
    state = tmp_path_factory.mktemp("rates") / "state"
    with RunningGateway(state, chip=chip_file, environ=workers) as running:
        yield running


def asked(gateway: RunningGateway, key: str, path: str = CHAT, **fields: Any) -> httpx2.Response:
    """One call on a connection of its own, so that any worker may have it."""
    body = {"model": "mock-1", "messages": SAID, **fields}
    head = {"authorization": f"Bearer {key}"}
    return httpx2.post(gateway.url + path, json=body, headers=head, timeout=60, **PLAIN)


def left(response: httpx2.Response, kind: str) -> int:
    return int(response.headers[f"x-ratelimit-remaining-{kind}"])


def log_size(gateway: RunningGateway) -> int:
    size: int = httpx2.get(f"{gateway.url}/attestation/transparency/head", **PLAIN).json()["size"]
    return size


def test_calls_count_down_and_the_next_is_refused_without_a_trace_in_the_log(gateway: RunningGateway) -> None:
    key = minted_key(gateway, {}, {"requests_per_minute": 3})
    answers = [asked(gateway, key) for _ in range(3)]
    assert [(answer.status_code, left(answer, "requests")) for answer in answers] == [(200, 2), (200, 1), (200, 0)]
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"3"}
    assert not [name for name in answers[0].headers if "tokens" in name or name.startswith("anthropic-ratelimit")]
    with httpx2.Client(base_url=gateway.url, headers={"authorization": f"Bearer {key}"}, **PLAIN) as owner:
        last = answers[-1].headers["x-receipt-id"]
        wait_for(lambda: owner.get(f"/v1/aci/receipts/{last}/proof").is_success, 60, "the last call is not in the log")
        before = log_size(gateway)
        refused = [asked(gateway, key) for _ in range(20)]
        assert {answer.status_code for answer in refused} == {429}
        assert owner.get("/v1/models").status_code == 200, "only calls are counted"
        assert log_size(gateway) == before
    error, head = refused[0].json()["error"], refused[0].headers
    assert error["code"] == "rate_limit_exceeded" and "this key may use 3 requests per minute" in error["message"]
    assert head["retry-after"].isdigit() and 1 <= int(head["retry-after"]) <= MINUTE
    assert head["x-ratelimit-remaining-requests"] == "0" and head["x-ratelimit-reset-requests"].endswith("s")
    assert "x-receipt-id" not in head


def test_a_crowd_on_two_keys_gets_exactly_what_their_tenant_may_use(gateway: RunningGateway) -> None:
    tenant = {"requests_per_minute": 10}
    keys = [minted_key(gateway, tenant, {}, tenant_id="crowded"), minted_key(gateway, tenant, {}, tenant_id="crowded")]
    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(lambda at: asked(gateway, keys[at % 2]), range(40)))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 30


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
def test_tokens_are_corrected_by_what_was_used(gateway: RunningGateway, stream: bool) -> None:
    key = minted_key(gateway, {"tokens_per_minute": 100_000}, {"tokens_per_minute": 5000})
    first = asked(
        gateway, key, max_tokens=3000, stream=stream, stream_options={"include_usage": True} if stream else None
    )
    assert first.status_code == 200 and first.headers["x-ratelimit-limit-tokens"] == "5000"
    reserved = 5000 - left(first, "tokens")
    assert 3000 < reserved < 3100
    second = asked(gateway, key, max_tokens=3000)
    used = second.json()["usage"]["total_tokens"]
    assert second.status_code == 200 and left(second, "tokens") == 5000 - reserved - used


def test_what_a_provider_refuses_has_used_no_tokens(gateway: RunningGateway) -> None:
    key = minted_key(gateway, {}, {"tokens_per_minute": 5000})
    failed = asked(gateway, key, messages=[{"role": "user", "content": "mock:error=400"}], max_tokens=3000)
    assert failed.status_code == 400
    again = asked(gateway, key, messages=[{"role": "user", "content": "mock:error=400"}], max_tokens=3000)
    assert left(again, "tokens") == left(failed, "tokens")


def test_a_prompt_that_never_fits_is_not_to_be_sent_again(gateway: RunningGateway) -> None:
    key = minted_key(gateway, {"tokens_per_minute": 50}, {})
    refused = asked(gateway, key, messages=[{"role": "user", "content": "word " * 200}])
    assert refused.status_code == 429 and refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers and "50 per minute are allowed" in refused.json()["error"]["message"]


def test_anthropics_clients_read_their_own_names(gateway: RunningGateway) -> None:
    key = minted_key(gateway, {}, {"requests_per_minute": 1, "tokens_per_minute": 4000})
    first = asked(gateway, key, MESSAGES, max_tokens=20)
    assert first.status_code == 200 and first.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert first.headers["anthropic-ratelimit-tokens-limit"] == "4000"
    assert first.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    refused = asked(gateway, key, MESSAGES, max_tokens=20)
    assert refused.status_code == 429 and refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_a_body_that_is_no_call_counts_as_a_request(gateway: RunningGateway) -> None:
    """Else it could be sent without end."""
    key = minted_key(gateway, {}, {"requests_per_minute": 2})
    head = {"authorization": f"Bearer {key}"}
    for status in (400, 400, 429):
        assert httpx2.post(gateway.url + CHAT, content=b"{", headers=head, **PLAIN).status_code == status
