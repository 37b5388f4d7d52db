"""Callers with money: an operator's tenants and prepaid keys on running gateways, and many calls at once."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from tests.worlds.gateway import PLAIN, RunningGateway, chat_body
from tests.worlds.upstream import STREAM, Recording

CALL_USD = 0.001
"""What a call of `flat-1` costs, however long it is."""
USED = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
USED_USD = 0.00018
"""What that is at `wire-1`'s prices: a dollar for a million tokens in, two for a million out."""
_PRICES = {
    "wire-1": "input = 1_000_000\noutput = 2_000_000\nmax_output = 1000",
    "flat-1": "input = 0\noutput = 0\nrequest = 1000",
    "unpriced-1": "",
}


def priced_config(base_url: str, **members: Any) -> str:
    """A gateway in front of the provider at `base_url`; its credential is in WIRE_KEY."""
    rows = [f"{name} = {json.dumps(value)}" for name, value in members.items()]
    rows += ["[[providers]]", 'id = "wire"', 'family = "vllm"', f'base_url = "{base_url}"']
    rows += ['credential_env = "WIRE_KEY"', "[retry]", "attempts = 1", "[breaker]", "failures = 64"]
    for name, price in _PRICES.items():
        rows += ["[[models]]", f'id = "{name}"', 'provider = "wire"']
        rows += ["[[prices.models]]", f'id = "{name}"', price] if price else []
    return "\n".join(rows) + "\n"


def answered(usage: dict[str, int] | None = None) -> Recording:
    """A buffered answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
    told = {} if usage is None else {"usage": usage}
    body = {"id": "c-1", "object": "chat.completion", "created": 7, "model": "m", "choices": [choice], **told}
    return Recording(json.dumps(body).encode(), "application/json")


def streamed(pieces: int, usage: dict[str, int] | None = None, **more: Any) -> Recording:
    """A streamed answer of so many pieces; it ends with usage, or not at all."""
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    chunks: list[dict[str, Any]] = [
        head | {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]} for _ in range(pieces)
    ]
    if usage is not None:
        chunks += [head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        chunks += [head | {"choices": [], "usage": usage}]
    raw = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    return Recording(raw + (b"data: [DONE]\n\n" if usage is not None else b""), STREAM, **more)


class Till:
    """The money of the callers of one gateway, or of several on one database."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self._token = str(gateway.demo["admin_token"])

    def tenant(self, name: str, **settings: Any) -> tuple[str, str]:
        """A new tenant's first key: its id, and its secret."""
        made = self.ask("POST", "/admin/tenants", {"id": name} | settings)
        assert made.status_code == 201, made.text
        keys = self.ask("GET", f"/admin/tenants/{name}/keys").json()["data"]
        return str(keys[0]["id"]), str(made.json()["api_key"])

    def pay(self, key_id: str, usd: float | str, **headers: str) -> httpx2.Response:
        """Pay in for a key, as the operator."""
        return self.ask("POST", "/v1/credits/topup", {"key_id": key_id, "usd": usd}, **headers)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """What the operator is answered."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"authorization": f"Bearer {self._token}"}
        return httpx2.request(method, self._gateway.url + path, json=body, headers=named, timeout=60.0, **PLAIN)

    def credits(self, secret: str, **query: str) -> dict[str, Any]:
        """What a key is told of its money."""
        with self._gateway.client(secret) as client:
            answer = client.get("/v1/credits", params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def call_at_once(gateways: Sequence[RunningGateway], secret: str, calls: int, model: str) -> Counter[int]:
    """So many calls by callers who all wait for one another before they send; how many got which status."""
    together = threading.Barrier(calls)

    def call(number: int) -> int:
        gateway = gateways[number % len(gateways)]
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        with httpx2.Client(base_url=gateway.url, headers=headers, timeout=120.0, **PLAIN) as client:
            together.wait()
            answer = client.post("/v1/chat/completions", content=chat_body(f"call {number}", model))
        return answer.status_code

    with ThreadPoolExecutor(calls) as callers:
        return Counter(callers.map(call, range(calls)))
