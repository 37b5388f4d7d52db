"""Money over HTTP: calls and streams are charged what they used, and nobody spends what is not there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.worlds.gateway import PLAIN, RunningGateway, chat_body, run_cli
from tests.worlds.money import (
    CALL_USD,
    USED,
    USED_USD,
    Till,
    answered,
    call_at_once,
    priced_config,
    streamed,
)
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, ScriptedUpstream, scripted_upstream

ENVIRON = {"WIRE_KEY": UPSTREAM_CREDENTIAL}


@pytest.fixture(scope="module")
def wire() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, chip_file: Path, wire: ScriptedUpstream
) -> Iterator[RunningGateway]:
    state = tmp_path_factory.mktemp("money", numbered=False) / "state"
    with RunningGateway(state, config=priced_config(wire.base_url), chip=chip_file, environ=ENVIRON) as running:
        yield running


@pytest.fixture(scope="module")
def till(gateway: RunningGateway) -> Till:
    return Till(gateway)


def ask(gateway: RunningGateway, secret: str, model: str, **fields: Any) -> httpx2.Response:
    with gateway.client(secret) as client:
        return client.post("/v1/chat/completions", content=chat_body("Hello", model, **fields))


def check(gateway: RunningGateway, **environ: str) -> tuple[int, str]:
    """What the audit says of the ledger."""
    config = gateway.state.with_name(gateway.state.name + ".toml")
    done = run_cli("ledger", "check", "--config", config, environ={"SAFEROUTER_STATE": str(gateway.state), **environ})
    return done.returncode, done.stdout + done.stderr


def costs(gateway: RunningGateway, receipt_id: str) -> tuple[int | None, bool]:
    """What was written down of a call's cost."""
    query = (
        "SELECT cost_micro_usd, cost_estimated FROM activity JOIN calls ON calls.id = call_id WHERE receipt_id = ? "
        "AND shown"
    )
    database = sqlite3.connect(f"file:{gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True)
    try:
        (row,) = database.execute(query, (receipt_id,))
    finally:
        database.close()
    return row[0], bool(row[1])


def test_a_call_is_charged_what_it_used(gateway: RunningGateway, till: Till, wire: ScriptedUpstream) -> None:
    """R152, R153, R155: kept, deducted, and shown by model."""
    key, secret = till.tenant("buffered")
    assert till.credits(secret)["balance_usd"] is None
    assert till.pay(key, 1).json()["balance_usd"] == 1
    wire.play(answered(USED))
    answer = ask(gateway, secret, "wire-1")
    assert answer.status_code == 200
    assert costs(gateway, answer.headers["x-receipt-id"]) == (180, False)
    found = till.credits(secret)
    assert (found["balance_usd"], found["reserved_usd"], found["spent_usd"]) == (1 - USED_USD, 0, USED_USD)
    assert found["tenant"] == {"id": "buffered", "usd_cap": None, "usd_spent": USED_USD}
    used = {"model": "wire-1", "calls": 1, "prompt_tokens": 100, "completion_tokens": 40, "usd": USED_USD}
    assert found["usage"] == [used | {"unpriced_calls": 0}]
    assert found["prices"]["date"] >= "2026-01-01" and found["prices"]["digest"].startswith("sha256:")


def test_a_stream_is_charged_what_it_used(gateway: RunningGateway, till: Till, wire: ScriptedUpstream) -> None:
    """R157: streams are billed too."""
    key, secret = till.tenant("streamed")
    till.pay(key, 1)
    wire.play(streamed(3, USED))
    answer = ask(gateway, secret, "wire-1", stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert costs(gateway, answer.headers["x-receipt-id"]) == (180, False)
    assert till.credits(secret)["balance_usd"] == 1 - USED_USD


def test_of_a_cut_stream_what_left_is_estimated_and_marked(
    gateway: RunningGateway, till: Till, wire: ScriptedUpstream
) -> None:
    """Twenty pieces left: at least a token each, and never the whole thousand that the call might have used."""
    key, secret = till.tenant("cut")
    till.pay(key, 1)
    wire.play(streamed(20, ending="cut"))
    answer = ask(gateway, secret, "wire-1", stream=True)
    cost, estimated = costs(gateway, answer.headers["x-receipt-id"])
    assert estimated and cost is not None and 20 * 2 <= cost < 1000
    assert till.credits(secret)["balance_usd"] == pytest.approx(1 - cost / 1e6, abs=1e-9)


def test_a_refusal_of_the_provider_is_free(gateway: RunningGateway, till: Till, wire: ScriptedUpstream) -> None:
    key, secret = till.tenant("refused")
    till.pay(key, 1)
    refusal = answered()
    wire.play(type(refusal)(b'{"error":{"message":"no"}}', "application/json", 400))
    assert ask(gateway, secret, "wire-1").status_code == 400
    found = till.credits(secret)
    assert (found["balance_usd"], found["reserved_usd"]) == (1, 0)


def test_an_empty_key_is_refused_before_the_provider_is_asked_and_has_a_receipt(
    gateway: RunningGateway, till: Till, wire: ScriptedUpstream
) -> None:
    """R154: 402."""
    key, secret = till.tenant("empty")
    till.pay(key, CALL_USD)
    wire.play(answered(USED))
    assert ask(gateway, secret, "flat-1").status_code == 200
    wire.play(answered(USED))
    refused = ask(gateway, secret, "flat-1")
    assert refused.status_code == 402 and refused.headers["x-should-retry"] == "false"
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "credits_exhausted")
    assert "$0.001" in error["message"] and "topup" in error["message"]
    assert wire.received == []
    raw = gateway.fetch_receipt(refused.headers["x-receipt-id"], secret)
    events = {event["type"]: event for event in json.loads(raw)["event_log"]}
    assert events["response.returned"]["status"] == 402
    assert not {"route", "request.forwarded"} & events.keys()
    verdict = gateway.judge(raw, refused.request.content, refused.content)
    assert (verdict.failures(), verdict.missing()) == ((), ()), verdict.sentence()
    assert ask(gateway, secret, "wire-1", max_tokens=1).status_code == 402  # less than what it may cost is not enough


def test_the_cap_of_a_tenant_binds_all_its_keys(gateway: RunningGateway, till: Till, wire: ScriptedUpstream) -> None:
    """R53: what a tenant spends, and may spend."""
    _, secret = till.tenant("capped", usd_cap=2 * CALL_USD)
    second = till.ask("POST", "/admin/tenants/capped/keys", {"name": "second"}).json()["key"]
    wire.play(answered(USED))
    assert [ask(gateway, each, "flat-1").status_code for each in (secret, second)] == [200, 200]
    refused = ask(gateway, second, "flat-1")
    assert refused.status_code == 402 and refused.json()["error"]["code"] == "tenant_cap_reached"
    assert till.ask("GET", "/admin/tenants/capped").json()["usd_spent"] == 2 * CALL_USD
    assert [row["usage"]["usd"] for row in till.ask("GET", "/admin/tenants/capped/keys").json()["data"]] == [
        CALL_USD,
        CALL_USD,
    ]
    assert till.credits(secret, scope="tenant")["usage"][0]["calls"] == 2


def test_an_unknown_price_is_null_and_nobody_with_a_bound_may_call_it(
    gateway: RunningGateway, till: Till, wire: ScriptedUpstream
) -> None:
    later, secret = till.tenant("later")
    wire.play(answered(USED))
    answer = ask(gateway, secret, "unpriced-1")
    assert answer.status_code == 200 and costs(gateway, answer.headers["x-receipt-id"]) == (None, False)
    assert till.credits(secret)["usage"][0]["usd"] is None
    till.pay(later, 1)
    _, capped = till.tenant("capped-later", usd_cap=5)
    for each in (secret, capped):
        wire.play(answered(USED))
        refused = ask(gateway, each, "unpriced-1")
        assert refused.status_code == 402 and refused.json()["error"]["code"] == "price_unknown"
        assert "prices.models" in refused.json()["error"]["message"] and wire.received == []


def test_a_payment_is_made_once(till: Till) -> None:
    """R155: `POST /v1/credits/topup`."""
    key, secret = till.tenant("payer")
    first, again = (till.pay(key, 2, idempotency_key="order-7") for _ in range(2))
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert till.credits(secret)["balance_usd"] == 2
    other = till.pay(key, 3, idempotency_key="order-7")
    assert other.status_code == 409 and other.json()["error"]["code"] == "idempotency_conflict"
    assert till.pay(key, "0.25").json()["balance_usd"] == 2.25


def test_who_may_pay_in_and_what_is_no_payment(gateway: RunningGateway, till: Till) -> None:
    key, secret = till.tenant("biller")
    with gateway.client(secret) as client:
        assert client.post("/v1/credits/topup", json={"usd": 1}).status_code == 403
    may = till.ask("POST", "/admin/tenants/biller/keys", {"scopes": ["billing"]}).json()
    with gateway.client(may["key"]) as client:
        paid = client.post("/v1/credits/topup", json={"usd": 1.5, "key_id": key, "note": "March"})
        assert (paid.status_code, paid.json()["balance_usd"], paid.json()["note"]) == (201, 1.5, "March")
        stranger, _ = till.tenant("stranger")
        assert client.post("/v1/credits/topup", json={"usd": 1, "key_id": stranger}).status_code == 404
    for usd in (0, -1, 0.0000001, 1e12, True, None, "x", "1e999990", "1E999999", "nan"):
        assert till.ask("POST", "/v1/credits/topup", {"key_id": key, "usd": usd}).status_code == 400, usd
    for more in ({"key_id": 7}, {"key_id": "k" * 41}, {"note": "x" * 201}, {"else": 1}):
        assert till.ask("POST", "/v1/credits/topup", {"key_id": key, "usd": 1} | more).status_code == 400, more
    assert httpx2.post(f"{gateway.url}/v1/credits/topup", json={"usd": 1}, **PLAIN).status_code == 401


def test_a_prepaid_key_makes_only_prepaid_ones(gateway: RunningGateway, till: Till) -> None:
    key, secret = till.tenant("frugal")
    later = till.ask("POST", "/admin/tenants/frugal/keys", {}).json()
    till.pay(key, 1)
    with gateway.client(secret) as client:
        made = client.post("/v1/keys", json={"name": "second"}).json()
        assert till.credits(made["key"])["balance_usd"] == 0
        assert ask(gateway, made["key"], "wire-1").json()["error"]["code"] == "credits_exhausted"
        refused = client.post(f"/v1/keys/{later['id']}/rotate", json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_prepaid")


def test_the_card_of_a_model_says_what_is_charged(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        cards = {row["id"]: row["x_saferouter"] for row in client.get("/v1/models").json()["data"]}
    shown = {name: (card["input_usd_per_million"], card["output_usd_per_million"]) for name, card in cards.items()}
    assert shown == {"wire-1": (1.0, 2.0), "flat-1": (0.0, 0.0), "unpriced-1": (None, None)}


def test_every_account_balances_after_all_that(gateway: RunningGateway) -> None:
    assert check(gateway) == (0, "PASS every account balances.\n")
    database = sqlite3.connect(gateway.state / "gateway.sqlite3", timeout=30)
    with database:
        database.execute("UPDATE ledger_accounts SET balance = balance + 1 WHERE name = 'spent:buffered'")
    code, words = check(gateway)
    assert code == 1 and "FAIL spent:buffered" in words
    with database:
        database.execute("UPDATE ledger_accounts SET balance = balance - 1 WHERE name = 'spent:buffered'")
    database.close()


def test_a_person_pays_in_and_looks_by_command(gateway: RunningGateway, till: Till) -> None:
    key, secret = till.tenant("by-hand")
    config = gateway.state.with_name("state.toml")
    where = {"SAFEROUTER_STATE": str(gateway.state)}
    for _ in range(2):
        done = run_cli("credits", "topup", key, "2.50", "--once", "a", "--config", config, environ=where)
        assert (done.returncode, done.stdout) == (0, f"{key} has $2.50.\n"), done.stderr
    assert till.credits(secret)["balance_usd"] == 2.5
    shown = run_cli("credits", "show", key, "--config", config, "--json", environ=where)
    assert json.loads(shown.stdout) == {"key_id": key, "balance_usd": 2.5, "reserved_usd": 0.0, "spent_usd": 0.0}
    wrong = run_cli("credits", "topup", "key-none", "1", "--config", config, environ=where)
    assert wrong.returncode == 1 and "no key" in wrong.stderr
    prices = run_cli("prices", "show", "--config", config, environ=where).stdout
    assert "wire-1 at wire  $1.00 in, $2.00 out" in prices and "unpriced-1 at wire  unknown" in prices
    missing = run_cli("prices", "check", "--config", config, environ=where)
    assert missing.returncode == 1 and missing.stdout.startswith("UNKNOWN unpriced-1 at wire")


def test_a_kill_in_the_middle_leaves_a_ledger_that_balances(
    gateway: RunningGateway, till: Till, wire: ScriptedUpstream
) -> None:
    """Calls that run hold money; what the next start finds of them it settles once, and the rest comes back."""
    key, secret = till.tenant("killed")
    till.pay(key, 1)
    wire.play(streamed(20, ending="hold"))
    body = chat_body("Hello", "wire-1", stream=True)
    with ExitStack() as running:
        client = running.enter_context(gateway.client(secret))
        for _ in range(8):
            running.enter_context(client.stream("POST", "/v1/chat/completions", content=body))
        assert till.credits(secret)["reserved_usd"] > 8 * 0.002
        gateway.kill()
    assert check(gateway)[0] == 0  # what is held says who holds it
    gateway.start()
    found = till.credits(secret)
    assert found["reserved_usd"] == 0
    assert found["balance_usd"] + found["spent_usd"] == pytest.approx(1, abs=1e-9)
    assert check(gateway)[0] == 0
    gateway.restart()
    assert till.credits(secret)["balance_usd"] == found["balance_usd"]


# 500 callers at once on one key.


def spend(gateways: list[RunningGateway], wire: ScriptedUpstream) -> None:
    """As many calls go on as are paid for, to the last micro-dollar."""
    till = Till(gateways[0])
    key, secret = till.tenant("crowd")
    till.pay(key, 100 * CALL_USD)
    wire.play(answered(USED))
    statuses = call_at_once(gateways, secret, 500, "flat-1")
    assert statuses == {200: 100, 402: 400}
    found = till.credits(secret)
    assert (found["balance_usd"], found["reserved_usd"], found["spent_usd"]) == (0, 0, 100 * CALL_USD)
    assert len(wire.received) == 100


def test_five_hundred_calls_at_once_spend_what_is_there(gateway: RunningGateway, wire: ScriptedUpstream) -> None:
    spend([gateway], wire)
    assert check(gateway)[0] == 0


def test_two_workers_spend_no_more_than_one(tmp_path: Path, chip_file: Path, wire: ScriptedUpstream) -> None:
    config = priced_config(wire.base_url, workers=2)
    with RunningGateway(tmp_path / "state", config=config, chip=chip_file, environ=ENVIRON) as running:
        spend([running], wire)
        assert check(running)[0] == 0


def test_three_gateways_on_one_database_spend_no_more_than_one(
    tmp_path: Path, chip_file: Path, wire: ScriptedUpstream, postgres_url: str
) -> None:
    where = {"SAFEROUTER_DATABASE_URL": postgres_url}
    config = priced_config(wire.base_url)
    with ExitStack() as running:
        gateways = [
            RunningGateway(tmp_path / f"state-{number}", config=config, chip=chip_file, environ=ENVIRON | where)
            for number in range(3)
        ]
        for each in gateways:
            running.enter_context(each)
        spend(gateways, wire)
        gateways[1].kill()
        assert check(gateways[0], **where)[0] == 0
        gateways[1].start()
