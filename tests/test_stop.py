"""SIGTERM finishes what can be finished; asked twice, or out of time, a stop cuts, and each call has its receipt."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.worlds.gateway import PLAIN, Answered, RunningGateway, chat_body
from tests.worlds.workers import gone, wait_for

MOCK = '[[providers]]\nid = "mock"\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'
WHOLE, ENDLESS = "mock:slow=8 mock:chunks=160", "mock:slow=600 mock:chunks=6000"


@pytest.fixture(params=[1, 2], ids=["alone", "workers"])
def workers(request: pytest.FixtureRequest) -> str:
    return f"workers = {request.param}\n"


@contextmanager
def a_call_under_way(gateway: RunningGateway, said: str) -> Iterator[Future[Answered]]:
    """A stream that has begun."""
    with ThreadPoolExecutor(1) as callers, gateway.client() as client:
        leaves = client.get("/attestation/transparency").json()["size"]
        call = callers.submit(gateway.post, chat_body(said, stream=True))
        wait_for(lambda: client.get("/attestation/transparency").json()["size"] > leaves, 20, "the call has begun")
        yield call


def terminate(gateway: RunningGateway) -> None:
    os.kill(gateway.pid, signal.SIGTERM)


def test_a_stop_lets_the_calls_under_way_end(tmp_path: Path, chip_file: Path, workers: str) -> None:
    with RunningGateway(tmp_path / "state", config=workers + MOCK, chip=chip_file) as gateway:
        with a_call_under_way(gateway, WHOLE) as call:
            pid = gateway.pid
            terminate(gateway)
            wait_for(lambda: httpx2.get(f"{gateway.url}/readyz", **PLAIN).status_code == 503, 20, "it says so")
            refused = gateway.ask("too late")
            assert (refused.status, refused.json["error"]["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"]
            answered = call.result()
        assert answered.raw.endswith(b"data: [DONE]\n\n")
        wait_for(lambda: gone(pid), 20, "nothing holds it any longer")
        assert gateway.stop()[0] == 0
        gateway.start()
        gateway.verified(answered)


@pytest.mark.parametrize("twice", [True, False], ids=["asked twice", "out of time"])
def test_a_stop_does_not_wait_for_ever(tmp_path: Path, chip_file: Path, workers: str, twice: bool) -> None:
    limits = "" if twice else "[limits]\nstop_seconds = 1\n"
    with RunningGateway(tmp_path / "state", config=workers + MOCK + limits, chip=chip_file) as gateway:
        with gateway.client() as client:
            request = client.build_request("POST", "/v1/chat/completions", content=chat_body(ENDLESS, stream=True))
            response = client.send(request, stream=True)
            pid = gateway.pid
            terminate(gateway)
            if twice:
                wait_for(lambda: httpx2.get(f"{gateway.url}/readyz", **PLAIN).status_code == 503, 20, "it heard that")
                terminate(gateway)
            wait_for(lambda: gone(pid), 20, "it is gone")
            receipt_id = response.headers["x-receipt-id"]
        assert gateway.stop()[0] == 0
        gateway.start()
        verdict = gateway.judge(gateway.fetch_receipt(receipt_id))
        assert verdict.failures() == ("receipt.complete",)
