"""/metrics, the access log and spans of a live gateway: they count every call, stay bounded, and hold no content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType

import httpx2
import pytest
from starlette.requests import Request

from gateway.access_log import MAX_WAITING, AccessLog
from gateway.errors import Forbidden
from gateway.http.metrics import require_reader
from gateway.meters import CallMeters
from gateway.metrics import DURATION, LOST_LINES, REQUESTS, new_tally
from gateway.routing.route import ModelTable
from gateway.tally import MAX_SERIES
from tee.errors import Malformed
from tests.worlds.gateway import PLAIN, RunningGateway, chat_body
from tests.worlds.scrape import PATIENCE, scrape, scrape_until
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, Recording, ScriptedUpstream, wired_config
from tests.worlds.workers import kill, wait_for, workers_of

TOKEN = "metrics-token-5eed"
SECRET = "hunter2-planted-secret"
LONG = chat_body("mock:slow=60 mock:chunks=600", stream=True)
DRAINING = 'drain = true\n[[providers]]\nid = "mock"\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'
CONFIGURED = {"mock-1", "mock-reasoner", "wire-1", "wire/renamed", "absent-1", "keyless-1", "claude-1", "mini-1"}
CONFIGURED |= {"gpt-1", "pro-1", "llama-1"}


@pytest.fixture(scope="module", params=[1, 2], ids=["one-process", "two-workers"])
def gateway(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    chip_file: Path,
    upstream: ScriptedUpstream,
) -> Iterator[RunningGateway]:
    state = tmp_path_factory.mktemp("metrics") / "state"
    token = state.with_name("token")
    token.write_text(TOKEN + "\n")
    config = f'workers = {request.param}\naccess_log = true\nmetrics_token_file = "{token}"\n'
    with RunningGateway(
        state,
        config=config + wired_config(upstream.base_url),
        chip=chip_file,
        environ={"WIRE_KEY": UPSTREAM_CREDENTIAL},
    ) as running:
        running.metrics_token = TOKEN
        yield running


def lines(gateway: RunningGateway) -> list[dict[str, object]]:
    whole = gateway.log.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole if line.startswith("{")]


def test_every_way_in_which_a_call_ends_is_counted(gateway: RunningGateway) -> None:
    before = scrape(gateway)

    def came(name: str, **labels: str) -> float:
        return after.sum(name, **labels) - before.sum(name, **labels)

    answered = [
        gateway.ask("Hello"),
        gateway.ask("Hello", stream=True),
        gateway.ask("mock:cut", stream=True),
        gateway.ask("mock:error=500"),
        gateway.ask("mock:error=429"),
        gateway.ask("Hello", model="nobody-has-this"),
    ]
    httpx2.post(f"{gateway.url}/v1/messages", content=b"{}", **PLAIN)  # by nobody: it has no receipt, and is counted
    after = scrape_until(
        gateway, lambda now: now.sum("saferouter_requests_total") >= before.sum("saferouter_requests_total") + 7
    )
    assert came("saferouter_requests_total") == 7
    chat = {"surface": "chat/completions", "provider": "mock", "model": "mock-1"}
    assert came("saferouter_requests_total", outcome="complete", status="2xx", **chat) == 2
    assert came("saferouter_requests_total", outcome="cut", status="2xx", **chat) == 1
    assert came("saferouter_requests_total", outcome="failed", status="5xx", **chat) == 1
    assert came("saferouter_requests_total", outcome="refused", status="4xx", **chat) == 1
    assert came("saferouter_requests_total", outcome="refused", model="unknown", surface="chat/completions") == 1
    assert came("saferouter_requests_total", outcome="refused", surface="messages", provider="none") == 1
    assert came("saferouter_request_duration_seconds_count") == 7
    assert came("saferouter_overhead_seconds_count", stream="true") == 2
    assert came("saferouter_durable_wait_seconds_count", step="open") == 6
    assert came("saferouter_durable_wait_seconds_count", step="close") == 6
    assert came("saferouter_log_leaves_total", type="receipt") == 6
    assert came("saferouter_log_batch_size_count") > 0
    assert 3600 < after.sum("saferouter_keyset_expires_seconds") <= 24 * 3600
    usage = answered[0].json["usage"]
    assert came("saferouter_tokens_total", **{"class": "input", "model": "mock-1"}) >= usage["prompt_tokens"]
    receipts = {each.receipt_id for each in answered}
    wait_for(lambda: receipts <= {line["receipt"] for line in lines(gateway)}, PATIENCE, "no lines")
    told = {line["receipt"]: line for line in lines(gateway)}
    for each in answered:
        assert told[each.receipt_id]["status"] == each.status


def test_a_caller_that_leaves_is_counted_as_one(gateway: RunningGateway) -> None:
    before = scrape(gateway).sum("saferouter_requests_total", outcome="client_left")
    with (
        gateway.client() as client,
        client.stream(
            "POST", "/v1/chat/completions", content=chat_body("mock:slow=60 mock:chunks=600", stream=True)
        ) as response,
    ):
        pieces = response.iter_raw()
        next(pieces)
        assert scrape(gateway).sum("saferouter_open_calls") >= 1
    scrape_until(gateway, lambda now: now.sum("saferouter_requests_total", outcome="client_left") == before + 1)


def test_overhead_is_without_the_wait_for_the_provider(gateway: RunningGateway) -> None:
    """The provider takes its time before the first byte; none of it may count as ours."""

    def seconds(name: str) -> float:
        return now.sum(f"saferouter_{name}_seconds_sum", surface="chat/completions", stream="false")

    now = before = scrape(gateway)
    first, ours = seconds("time_to_first_byte"), seconds("overhead")
    gateway.ask("mock:slow=0.5")
    now = scrape_until(
        gateway,
        lambda now: now.sum("saferouter_requests_total") > before.sum("saferouter_requests_total"),
    )
    assert seconds("time_to_first_byte") - first >= 0.45 + seconds("overhead") - ours  # a timer may wake a moment early


def test_quotes_are_counted(gateway: RunningGateway) -> None:
    before = scrape(gateway).sum("saferouter_quotes_total", outcome="made")
    httpx2.post(f"{gateway.url}/attestation/quote", json={"nonce": "ab" * 32}, **PLAIN)
    assert scrape(gateway).sum("saferouter_quotes_total", outcome="made") == before + 1


def _post(client: httpx2.Client, body: bytes) -> httpx2.Response:
    return client.post("/v1/chat/completions", content=body)


def test_a_thousand_unknown_models_are_one_series(gateway: RunningGateway) -> None:
    gateway.ask("Hello", model="one-more")
    known = scrape_until(gateway, lambda now: now.sum("saferouter_requests_total", model="unknown") > 0)
    bodies = [chat_body("Hello", model=f"{SECRET}-{number}") for number in range(1000)]
    with gateway.client() as client, ThreadPoolExecutor(8) as callers:
        assert {answer.status_code for answer in callers.map(partial(_post, client), bodies)} == {404}
    reached = known.sum("saferouter_requests_total", model="unknown") + 1000
    after = scrape_until(gateway, lambda now: now.sum("saferouter_requests_total", model="unknown") >= reached)
    assert after.words("model") <= CONFIGURED | {"unknown"}
    assert len(after.samples) <= len(known.samples) + 30  # a histogram's series of its own, where none was yet


def test_no_secret_of_a_caller_shows_anywhere(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """In prompt, key, header, model, metadata and the provider's answer; looked for in all that the gateway says."""
    upstream.play(Recording(json.dumps({"error": {"message": SECRET}}).encode(), "application/json", 400))
    said = f"{SECRET} mock:chunks=3"
    gateway.post(chat_body(said, user=SECRET, metadata={SECRET: SECRET}), x_sf_policy=SECRET, x_custom=SECRET)
    gateway.post(chat_body(said, stream=True), traceparent=SECRET, baggage=SECRET)
    gateway.post(chat_body(said, model="wire-1"))
    gateway.post(SECRET.encode())
    answered = gateway.post(chat_body(said, model=SECRET))
    with gateway.client(f"sk-router-{SECRET}") as client:
        client.post("/v1/chat/completions", content=chat_body(said))
        client.post(f"/v1/{SECRET}", content=b"")
    wait_for(lambda: answered.receipt_id in gateway.log.read_text(), PATIENCE, "no line")
    shown = scrape(gateway).text + gateway.log.read_text()
    assert SECRET not in shown
    assert shown.count(gateway.api_key) == 2  # in the words of the demo at its start, and nowhere else


def test_where_a_token_is_configured_everybody_shows_it(gateway: RunningGateway) -> None:
    """Also who is on this machine: it may be a proxy that says nothing of whom it serves."""

    def status(**headers: str) -> int:
        return httpx2.get(f"{gateway.url}/metrics", headers=headers, **PLAIN).status_code

    assert status() == 403
    assert status(authorization=f"Bearer {TOKEN}x") == 403
    assert status(authorization=f"Bearer {gateway.api_key}") == 403
    assert status(authorization=f"Bearer {TOKEN}") == 200


def test_a_whole_url_over_http2_is_no_way_around_who_may_read(gateway: RunningGateway) -> None:
    """The keeper would take its path, and judges nobody who comes by a worker."""
    with httpx2.Client(http1=False, http2=True, **PLAIN) as client:
        for target, status in ((b"/metrics", 403), (b"http://x/metrics", 404), (b"http://x/v1/models", 404)):
            request = client.build_request("GET", f"{gateway.url}/", extensions={"target": target})
            assert client.send(request).status_code == status


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True)]
    + [(host, False) for host in ("192.0.2.7", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "::", "somewhere", "")],
)
def test_only_this_machine_reads_without_a_token(host: str, local: bool, tmp_path: Path) -> None:
    empty, missing, token = tmp_path / "empty", tmp_path / "missing", tmp_path / "token"
    empty.write_text("\n")
    token.write_text(TOKEN)
    assert reads(None, host) == local
    for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip", "origin"):
        assert not reads(None, host, {name: "192.0.2.1"})
    for file in (empty, missing, token):
        assert not reads(file, host, {"authorization": "Bearer "})
        assert not reads(file, host)
    assert reads(token, host, {"authorization": f"Bearer {TOKEN}"})
    assert not reads(token, host, {"authorization": f"Basic {TOKEN}"})


def reads(token_file: Path | None, host: str, headers: Mapping[str, str] = MappingProxyType({})) -> bool:
    rows = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (host, 1), "headers": rows}
    try:
        require_reader(Request(scope), token_file)
    except Forbidden:
        return False
    return True


def test_counts_outlive_the_worker_that_made_them(gateway: RunningGateway) -> None:
    if not (workers := workers_of(gateway)):
        pytest.skip("one process: its end is the gateway's")
    gateway.ask("Hello")
    before = scrape_until(gateway, lambda now: now.sum("saferouter_requests_total", outcome="complete") > 0)
    for worker in workers:
        kill(worker)
    wait_for(lambda: len(set(workers_of(gateway)) - set(workers)) == len(workers), 30.0, "no new workers")
    gateway.ask("Hello")
    scrape_until(
        gateway,
        lambda now: (
            now.sum("saferouter_requests_total", outcome="complete")
            > before.sum("saferouter_requests_total", outcome="complete")
        ),
    )


def test_each_call_is_a_span_where_the_host_traces(tmp_path: Path, chip_file: Path) -> None:
    command, spans = (sys.executable, "-m", "tests.worlds.traced_gateway"), tmp_path / "spans.jsonl"
    with RunningGateway(tmp_path / "state", config=DRAINING, chip=chip_file, command=command) as gateway:
        answered = gateway.ask(f"{SECRET} mock:chunks=3", stream=True)
        refused = gateway.ask(SECRET, model=SECRET)
        leave_early(gateway)
        wait_for(lambda: spans.read_text().count("\n") >= 3, PATIENCE, "no spans")
        shown = scrape(gateway)  # of who is on this machine no token is wanted
    assert SECRET not in spans.read_text()
    told = [json.loads(line) for line in spans.read_text().splitlines()]
    whole, failed, left = (span["attributes"] for span in told)
    assert [span["name"] for span in told] == ["chat mock-1", "chat unknown", "chat mock-1"]
    assert all(span["start_time"] < span["end_time"] for span in told)
    assert whole["gen_ai.provider.name"] == "mock"
    assert whole["saferouter.receipt.id"] == answered.receipt_id
    assert failed["error.type"] == str(refused.status)
    # Whoever left has used what the provider said all the same, once that was read to its end.
    assert left["gen_ai.usage.output_tokens"] > whole["gen_ai.usage.output_tokens"] > 0
    used = shown.sum("saferouter_tokens_total", **{"class": "output"})
    assert used == left["gen_ai.usage.output_tokens"] + whole["gen_ai.usage.output_tokens"]


def leave_early(gateway: RunningGateway) -> None:
    body = chat_body("mock:slow=1 mock:chunks=40", stream=True)
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", content=body) as response:
        pieces = response.iter_raw()
        next(pieces)


def test_nothing_of_opentelemetry_is_loaded_where_it_is_absent() -> None:
    script = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith(("opentelemetry", "prometheus_client")):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import gateway.instance, gateway.http.server
from gateway.tracing import find_tracer
assert find_tracer() is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_reader_that_does_not_read_holds_nobody_up() -> None:
    tally = new_tally()
    reading, writing = os.pipe()
    log = AccessLog(tally, writing)
    for number in range(MAX_WAITING * 2):
        log.write({"number": number, "filler": "x" * 100})
    assert dict(tally.rows(LOST_LINES))[()][0] > 0
    os.close(reading)  # the thread that is stuck in its write ends with that
    log.close()
    os.close(writing)


def test_what_one_process_tells_another_counts() -> None:
    ours, theirs = new_tally(), new_tally()
    for seconds in (0.001, 7.0, 1000.0):
        theirs.observe(DURATION, ("chat/completions", "mock", "true"), seconds)
        theirs.add(REQUESTS, ("chat/completions", "mock", "mock-1", "2xx", "complete"))
        ours.merge(json.loads(json.dumps(theirs.news())))
        assert not theirs.news()
    for family in (DURATION, REQUESTS):
        assert list(ours.rows(family)) == list(theirs.rows(family))
    assert dict(ours.rows(DURATION))[("chat/completions", "mock", "true")][-1] == 1007.001


ROW = [REQUESTS.name, ["a", "b", "c", "d", "e"], [1]]


@pytest.mark.parametrize(
    "row",
    [
        None,
        {},
        [],
        ["saferouter_unheard_of", [], [1]],
        [REQUESTS.name, ["a", "b", "c", "d"], [1]],
        [REQUESTS.name, ["a", "b", "c", "d", 5], [1]],
        [*ROW[:2], [1, 1]],
        [*ROW[:2], [-1]],
        [*ROW[:2], [float("nan")]],
        [*ROW[:2], [float("inf")]],
        [*ROW[:2], ["1"]],
    ],
)
def test_what_no_process_tells_is_refused(row: object) -> None:
    tally = new_tally()
    with pytest.raises(Malformed):
        tally.merge([ROW, row])


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [(KeyError("x"), "5xx", "failed"), (Forbidden("x"), "4xx", "refused"), (CancelledError(), "4xx", "client_left")],
)
def test_a_call_that_ends_in_an_error_is_counted_by_whose_it_is(
    error: BaseException, status: str, outcome: str
) -> None:
    tally = new_tally()
    with pytest.raises(type(error)), CallMeters(tally, ModelTable((), {}), None, None).call("chat/completions"):
        raise error
    assert dict(tally.rows(REQUESTS)) == {("chat/completions", "none", "unknown", status, outcome): [1.0]}


def test_counts_that_are_no_list_are_refused() -> None:
    with pytest.raises(Malformed):
        new_tally().merge({})


def test_series_are_bounded_whatever_becomes_a_label() -> None:
    tally = new_tally()
    for number in range(MAX_SERIES + 10):
        tally.add(REQUESTS, ("chat/completions", "mock", str(number), "2xx", "complete"))
    assert len(list(tally.rows(REQUESTS))) == MAX_SERIES
