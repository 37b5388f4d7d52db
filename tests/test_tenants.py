"""Tenants and their keys over HTTP, on a gateway of several processes: made, changed, rotated, revoked, and refused."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.admin_token import AdminToken, NoAdminApi, read_token
from gateway.errors import Unauthenticated
from tests.worlds.gateway import PLAIN, RunningGateway, chat_body, run_cli

CONFIG = 'workers = 2\n[[providers]]\nid = "mock"\nfamily = "mock"\n[[models]]\nid = "mock-1"\nprovider = "mock"\n'
SECOND = 1.0  # within which a revoked key is refused everywhere
LONG = "mock:slow=60 mock:chunks=600"
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    state = tmp_path_factory.mktemp("tenants", numbered=False) / "state"
    with RunningGateway(state, config=CONFIG, chip=chip_file) as running:
        yield running


class Operator:
    """Who holds the admin token."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway, self.token = gateway, gateway.demo["admin_token"]

    def ask(self, method: str, path: str, document: Json | None = None) -> tuple[int, Any]:
        return ask(self.gateway, method, path, self.token, document)

    def new_tenant(self, tenant_id: str, **settings: Any) -> Json:
        status, tenant = self.ask("POST", "/admin/tenants", {"id": tenant_id} | settings)
        assert status == 201, tenant
        return dict(tenant)

    def new_key(self, tenant_id: str, **settings: Any) -> Json:
        status, key = self.ask("POST", f"/admin/tenants/{tenant_id}/keys", settings)
        assert status == 201, key
        return dict(key)


@pytest.fixture(scope="module")
def operator(gateway: RunningGateway) -> Operator:
    return Operator(gateway)


@pytest.fixture(scope="module")
def acme(operator: Operator) -> str:
    """A key of tenant `acme` with every scope but billing."""
    return str(operator.new_tenant("acme", display_name="ACME Corp")["api_key"])


def ask(
    gateway: RunningGateway, method: str, path: str, secret: str, document: Json | None = None, **headers: str
) -> tuple[int, Any]:
    """One request on a connection of its own, so that any worker may take it."""
    content = None if document is None else json.dumps(document).encode()
    sent = {"authorization": f"Bearer {secret}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.request(method, gateway.url + path, content=content, headers=sent, timeout=30.0, **PLAIN)
    return response.status_code, response.json()


def refusal(answered: tuple[int, Any]) -> tuple[int, str]:
    return answered[0], answered[1]["error"]["code"]


def statuses(gateway: RunningGateway, secret: str, times: int = 12) -> set[int]:
    """What calls with this key get, of all workers."""
    with ThreadPoolExecutor(4) as pool:
        return set(pool.map(lambda _: ask(gateway, "GET", "/v1/models", secret)[0], range(times)))


def test_a_tenant_is_made_with_its_first_key_which_works(operator: Operator) -> None:
    wish = {"display_name": "Globex", "usd_cap": 500.25, "requests_per_minute": 120}
    tenant = operator.new_tenant("globex", **wish, allowed_policies=["default", "clinical-strict"])
    secret = tenant.pop("api_key")
    assert secret.startswith("sk-router-")
    assert {name: tenant[name] for name in wish} == wish
    assert tenant["allowed_policies"] == ["default", "clinical-strict"]
    assert tenant["tokens_per_minute"] is None
    assert operator.ask("GET", "/admin/tenants/globex") == (200, tenant)
    status, changed = operator.ask("PATCH", "/admin/tenants/globex", {"usd_cap": None, "tokens_per_minute": 9000})
    assert (status, changed) == (200, tenant | {"usd_cap": None, "tokens_per_minute": 9000})
    status, answer = ask(operator.gateway, "POST", CHAT, secret, json.loads(chat_body("hello")))
    assert (status, answer["object"]) == (200, "chat.completion")


def test_tenants_are_listed_page_by_page_and_hold_no_secret(operator: Operator) -> None:
    for name in ("page-1", "page-2", "page-3"):
        operator.new_tenant(name)
    seen, after = [], ""
    while True:
        _, page = operator.ask("GET", f"/admin/tenants?limit=2&after={after}")
        seen += [row["id"] for row in page["data"]]
        assert "sk-router-" not in json.dumps(page)
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert seen == sorted(set(seen))
    assert {"demo", "page-1", "page-2", "page-3"} <= set(seen)


@pytest.mark.parametrize(
    ("path", "document", "status", "param"),
    [
        ("/admin/tenants", {"id": "acme"}, 409, "id"),
        ("/admin/tenants", {"id": "a/b"}, 400, "id"),
        ("/admin/tenants", {}, 400, "id"),
        ("/admin/tenants", {"id": "x", "usd_cap": 0.0000001}, 400, "usd_cap"),
        ("/admin/tenants", {"id": "x", "usd_cap": -1}, 400, "usd_cap"),
        ("/admin/tenants", {"id": "x", "requests_per_minute": 0}, 400, "requests_per_minute"),
        ("/admin/tenants", {"id": "x", "allowed_policies": []}, 400, "allowed_policies"),
        ("/admin/tenants", {"id": "x", "colour": 1}, 400, "colour"),
        ("/admin/tenants/acme/keys", {"scopes": ["root"]}, 400, "scopes"),
        ("/admin/tenants/acme/keys", {"expires_at": 1}, 400, "expires_at"),
        ("/admin/tenants/acme/keys", {"policy": "clinical-strict"}, 400, "policy"),
        ("/admin/tenants/acme/keys", {"name": "a\nb"}, 400, "name"),
        ("/admin/tenants/nobody/keys", {}, 404, None),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    operator: Operator, acme: str, path: str, document: Json, status: int, param: str | None
) -> None:
    found, answer = operator.ask("POST", path, document)
    assert (found, answer["error"]["param"]) == (status, param)


def test_a_key_is_made_shown_once_renamed_and_listed(gateway: RunningGateway, acme: str) -> None:
    status, made = ask(gateway, "POST", "/v1/keys", acme, {"name": "ci", "requests_per_minute": 7})
    assert status == 201, made
    secret = made.pop("key")
    assert made["prefix"] == secret[:14] + "…"
    assert (made["object"], made["tenant"], made["scopes"]) == ("api_key", "acme", ["inference", "read", "keys"])
    assert (made["name"], made["requests_per_minute"], made["revoked_at"]) == ("ci", 7, None)
    assert ask(gateway, "GET", f"/v1/keys/{made['id']}", acme) == (200, made)
    assert ask(gateway, "POST", CHAT, secret, json.loads(chat_body("one call")))[0] == 200
    status, renamed = ask(gateway, "PATCH", f"/v1/keys/{made['id']}", acme, {"name": "nightly"})
    assert (status, renamed["name"]) == (200, "nightly")
    _, page = ask(gateway, "GET", "/v1/keys", secret)
    row = next(row for row in page["data"] if row["id"] == made["id"])
    assert (row["name"], row["usage"]["calls"]) == ("nightly", 1)
    assert secret[14:] not in json.dumps(page)
    assert [row["created_at"] for row in page["data"]] == sorted((r["created_at"] for r in page["data"]), reverse=True)


def test_the_last_use_is_noted(gateway: RunningGateway, operator: Operator, acme: str) -> None:
    made = operator.new_key("acme", name="used")
    assert made["last_used_at"] is None
    assert statuses(gateway, made["key"]) == {200}
    deadline = time.monotonic() + 10
    while (used := ask(gateway, "GET", f"/v1/keys/{made['id']}", acme)[1]["last_used_at"]) is None:
        assert time.monotonic() < deadline, "the use is never noted"
        time.sleep(0.05)
    assert made["created_at"] <= used <= time.time()


@pytest.fixture(scope="module")
def reader(operator: Operator, acme: str) -> str:
    return str(operator.new_key("acme", scopes=["read"])["key"])


def test_every_endpoint_of_keys_wants_a_scope_and_names_it(
    gateway: RunningGateway, operator: Operator, acme: str
) -> None:
    """Whatever the document says is behind a key: one that may nothing there is told what it lacks."""
    idle = {scope: operator.new_key("acme", scopes=[scope])["key"] for scope in ("billing", "keys")}
    paths = httpx2.get(f"{gateway.url}/openapi.json", **PLAIN).json()["paths"]
    wanted = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            if {"routerKey": []} in operation["security"]:
                own = idle["keys" if path.startswith("/v1/credits") else "billing"]
                status, answer = ask(gateway, method.upper(), path.replace("{", "").replace("}", ""), own, {})
                assert status == 403, f"{method} {path}: {answer}"
                wanted[method, path] = answer["error"]["message"]
    assert all("lacks the scope `" in words for words in wanted.values()), wanted
    assert "`inference`:" in wanted["post", CHAT]
    assert "`keys`:" in wanted["delete", "/v1/keys/{key_id}"]
    assert len(wanted) > 15


def test_models_are_for_who_calls_or_reads(gateway: RunningGateway, operator: Operator, reader: str) -> None:
    keeper = operator.new_key("acme", scopes=["keys"])["key"]
    assert ask(gateway, "GET", "/v1/models", reader)[0] == 200
    status, answer = ask(gateway, "GET", "/v1/models", keeper)
    assert (status, answer["error"]["code"]) == (403, "missing_scope")
    assert "`inference` or `read`" in answer["error"]["message"]


def test_a_key_gives_nothing_that_it_has_not(gateway: RunningGateway, operator: Operator, acme: str) -> None:
    asked = [
        ask(gateway, "POST", "/v1/keys", acme, {"scopes": ["billing"]}),
        ask(gateway, "POST", f"/v1/keys/{operator.new_key('acme', scopes=['billing'])['id']}/rotate", acme),
        ask(gateway, "PATCH", f"/v1/keys/{operator.new_key('acme')['id']}", acme, {"scopes": ["billing"]}),
    ]
    assert [refusal(each) for each in asked] == [(403, "beyond_own_key")] * 3
    assert "`billing`" in asked[0][1]["error"]["message"]


def test_a_key_that_ends_gives_none_that_ends_later(gateway: RunningGateway, operator: Operator, acme: str) -> None:
    ends = int(time.time()) + 3600
    short, lasting = operator.new_key("acme", expires_at=ends), operator.new_key("acme")
    status, made = ask(gateway, "POST", "/v1/keys", short["key"], {"name": "child"})
    assert (status, made["expires_at"]) == (201, ends)
    for document in ({"expires_at": ends + 1}, {"expires_at": None}):
        assert refusal(ask(gateway, "POST", "/v1/keys", short["key"], document)) == (403, "beyond_own_key")
    assert refusal(ask(gateway, "POST", f"/v1/keys/{lasting['id']}/rotate", short["key"])) == (403, "beyond_own_key")


def test_anothers_keys_are_not_there(gateway: RunningGateway, operator: Operator, acme: str) -> None:
    other = operator.new_tenant("initech")["api_key"]
    mine = operator.new_key("acme")["id"]
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")):
        answered = ask(gateway, method, f"/v1/keys/{mine}{path}", other, {})
        assert refusal(answered) == (404, "key_not_found")
    assert operator.ask("GET", f"/admin/tenants/initech/keys/{mine}")[0] == 404
    assert ask(gateway, "GET", f"/v1/keys?after={mine}", other)[1]["error"]["param"] == "after"


def test_a_rotated_secret_goes_on_for_the_overlap(gateway: RunningGateway, operator: Operator) -> None:
    first = operator.new_key("acme", name="rotating")
    status, second = ask(gateway, "POST", f"/v1/keys/{first['id']}/rotate", first["key"], {"overlap_seconds": 3600})
    assert (status, second["id"], second["name"]) == (200, first["id"], "rotating")
    assert second["key"] != first["key"]
    assert statuses(gateway, first["key"]) == statuses(gateway, second["key"]) == {200}
    # What is about to end makes nothing that lasts.
    assert refusal(ask(gateway, "POST", f"/v1/keys/{first['id']}/rotate", first["key"])) == (403, "beyond_own_key")
    _, third = ask(gateway, "POST", f"/v1/keys/{first['id']}/rotate", second["key"])
    time.sleep(SECOND)
    assert statuses(gateway, first["key"]) == statuses(gateway, second["key"]) == {401}
    assert statuses(gateway, third["key"]) == {200}


def test_a_revoked_key_is_refused_everywhere_within_a_second(gateway: RunningGateway, acme: str) -> None:
    made = ask(gateway, "POST", "/v1/keys", acme, {})[1]
    assert statuses(gateway, made["key"]) == {200}
    status, revoked = ask(gateway, "DELETE", f"/v1/keys/{made['id']}", acme)
    time.sleep(SECOND)
    assert statuses(gateway, made["key"], 24) == {401}
    assert (status, revoked["id"]) == (200, made["id"])
    assert revoked["revoked_at"] is not None
    assert ask(gateway, "DELETE", f"/v1/keys/{made['id']}", acme) == (200, revoked)
    assert refusal(ask(gateway, "PATCH", f"/v1/keys/{made['id']}", acme, {"name": "x"})) == (409, "key_revoked")
    assert refusal(ask(gateway, "POST", f"/v1/keys/{made['id']}/rotate", acme)) == (409, "key_revoked")


def test_a_key_ends_when_it_was_said(gateway: RunningGateway, operator: Operator) -> None:
    made = operator.new_key("acme", expires_at=int(time.time()) + 2)
    while time.time() < made["expires_at"]:
        ask(gateway, "GET", "/v1/models", made["key"])  # so that workers know it
        time.sleep(0.1)
    assert statuses(gateway, made["key"]) == {401}


def read_stream(gateway: RunningGateway, path: str, secret: str, begun: list[str]) -> tuple[str, bytes]:
    """A long stream, whole or cut: its receipt's id and its bytes."""
    body = json.loads(chat_body(LONG, stream=True, max_tokens=600))
    if path == RESPONSES:
        body = {"model": "mock-1", "input": LONG, "stream": True}
    headers = {"authorization": f"Bearer {secret}"}
    url = gateway.url + path
    with httpx2.stream("POST", url, json=body, headers=headers, timeout=30.0, **PLAIN) as response:
        raw = b""
        for piece in response.iter_raw():
            raw += piece
            begun.append(path)
        return response.headers["x-receipt-id"], raw


@pytest.mark.parametrize("by", ["key", "tenant"])
def test_a_revocation_ends_open_streams_in_their_own_language(
    gateway: RunningGateway, operator: Operator, by: str
) -> None:
    operator.new_tenant(f"cut-by-{by}", cut_streams=by == "tenant")
    made = operator.new_key(f"cut-by-{by}", cut_streams=by == "key", scopes=["inference", "read"])
    begun: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        reading = [pool.submit(read_stream, gateway, path, made["key"], begun) for path in (CHAT, MESSAGES, RESPONSES)]
        deadline = time.monotonic() + 30
        while len(set(begun)) < 3:
            assert time.monotonic() < deadline, f"only {set(begun)} have begun"
            time.sleep(0.05)
        operator.ask("DELETE", f"/admin/tenants/cut-by-{by}/keys/{made['id']}")
        (chat_id, chat), (_, messages), (_, responses) = (each.result() for each in reading)
    error = next(json.loads(row[6:]) for row in chat.split(b"\n") if b'"error"' in row)["error"]
    assert (error["code"], error["type"]) == ("key_revoked", "invalid_request_error")
    assert b"event: error\n" in messages
    assert b"revoked" in messages
    assert json.loads(responses.split(b"data: ")[-1])["type"] in ("error", "response.failed")
    assert b"key_revoked" in responses
    assert chat.count(b"data: ") < 600
    # The receipt is there, although nobody can ask for it by this key any more.
    assert complete_of(gateway, chat_id) is False


def complete_of(gateway: RunningGateway, receipt_id: str) -> bool:
    with sqlite3.connect(f"file:{gateway.state / 'gateway.sqlite3'}?mode=ro", uri=True) as record:
        (text,) = record.execute("SELECT receipt FROM calls WHERE receipt_id = ?", (receipt_id,)).fetchone()
    return bool(json.loads(text)["event_log"][-1]["complete"])


def test_a_stream_goes_on_where_nothing_says_that_it_shall_end(gateway: RunningGateway, operator: Operator) -> None:
    made = operator.new_key("acme")
    headers = {"authorization": f"Bearer {made['key']}"}
    body = json.loads(chat_body("mock:slow=5 mock:chunks=400", stream=True))
    with httpx2.stream("POST", gateway.url + CHAT, json=body, headers=headers, timeout=30.0, **PLAIN) as response:
        pieces = response.iter_raw()
        raw = next(pieces)
        operator.ask("DELETE", f"/admin/tenants/acme/keys/{made['id']}")
        raw += b"".join(pieces)
    assert raw.rstrip().endswith(b"data: [DONE]")
    assert statuses(gateway, made["key"]) == {401}


def test_the_admin_token_is_no_key_and_no_key_is_the_admin_token(gateway: RunningGateway, operator: Operator) -> None:
    assert refusal(ask(gateway, "POST", CHAT, operator.token, json.loads(chat_body("x")))) == (401, "invalid_api_key")
    assert refusal(ask(gateway, "GET", "/v1/keys", operator.token)) == (401, "invalid_api_key")
    assert refusal(ask(gateway, "GET", "/admin/tenants", gateway.api_key)) == (401, "invalid_admin_token")
    answered = ask(gateway, "GET", "/admin/tenants", gateway.api_key, x_router_key=operator.token)
    assert refusal(answered) == (401, "invalid_admin_token")
    assert operator.token not in gateway.log.read_text()


def test_the_admin_token_may_stand_beside_a_key(gateway: RunningGateway, operator: Operator) -> None:
    key = gateway.api_key
    assert ask(gateway, "GET", "/v1/models", operator.token, x_router_key=key)[0] == 200
    assert ask(gateway, "POST", CHAT, operator.token, json.loads(chat_body("x")), x_router_key=key)[0] == 200
    assert ask(gateway, "GET", "/admin/tenants", operator.token, x_router_key=key)[0] == 200


def test_a_gateway_without_an_admin_token_has_no_admin_api(tmp_path: Path) -> None:
    with pytest.raises(NoAdminApi):
        AdminToken(None).require({"authorization": "Bearer "})
    file = tmp_path / "token"
    for unusable in ("", "short", "x" * 31, "sk-router-" + "x" * 43, "x" * 5000):
        file.write_text(unusable)
        assert read_token(file) is None
        with pytest.raises(Unauthenticated):
            AdminToken(file).require({"authorization": f"Bearer {unusable}"})
    file.write_text("x" * 32 + "\n")
    AdminToken(file).require({"authorization": "bearer " + "x" * 32})
    file.write_text("y" * 32)
    assert not AdminToken(file).sent({"authorization": "Bearer " + "x" * 32}), "it is read each time"


def test_a_key_of_the_command_line_works_at_once(gateway: RunningGateway) -> None:
    config = str(gateway.state.with_name(gateway.state.name + ".toml"))
    environ = {"SAFEROUTER_STATE": str(gateway.state)}
    secret = run_cli("keys", "create", "by-hand", "--config", config, environ=environ).stdout.strip()
    assert statuses(gateway, secret) == {200}
