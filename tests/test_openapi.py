"""The OpenAPI document: it has every route and no other, and what it says is what the gateway answers."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from gateway.config import decode_config
from gateway.http.app import build_app
from gateway.instance import start_instance
from gateway.pipeline import Embedded
from gateway.rerouting import Rerouting
from tests.worlds.gateway import PLAIN, RunningGateway
from tests.worlds.workers import wait_for

Json = Any
NO_RECEIPT, NO_KEY, OWN_KEY = "rcpt-" + "0" * 32, "key-00000000", "key-11111111"
MISSING = {"getPastQuote", "getAnnouncement"}  # there is none
MADE = {"createKey": NO_KEY, "createKeyOfTenant": NO_KEY}
# Served for people, not for programs.
PAGES = {"/verifier", "/console", "/"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("openapi") / "state", chip=chip_file) as running:
        yield running


@pytest.fixture(scope="module")
def document(gateway: RunningGateway) -> Json:
    return httpx2.get(f"{gateway.url}/openapi.json", **PLAIN).json()


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def served(state: Path) -> set[tuple[str, str]]:
    """Every method and path of a gateway's application."""

    async def routes() -> set[tuple[str, str]]:
        config = decode_config({**DOCUMENT, "state": str(state)}, {})
        instance = await start_instance(config, allow_mock=True, embedded=Embedded("http://127.0.0.1:1", "x"))
        try:
            app = build_app(instance, Rerouting(instance))
            assert isinstance(app, Starlette)
            found = set()
            for route in app.routes:
                path = route.path.replace(":path}", "}") if isinstance(route, Route | Mount) else "?"
                methods = (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}
                found |= {(method, path) for method in methods}
            return found
        finally:
            await instance.drain()
            await instance.close()

    return asyncio.run(routes())


DOCUMENT = {
    "stock_http": True,  # whose application is Starlette's own
    "providers": [{"id": "mock", "family": "mock"}],
    "models": [{"id": "mock-1", "provider": "mock"}],
}


def test_every_route_is_in_the_document_and_no_other(document: Json, tmp_path: Path, chip_file: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    shutil.copy(chip_file, state / chip_file.name)
    described = {(method, path) for method, path, _ in operations(document)}
    assert described == {(method, path) for method, path in served(state) if path not in PAGES}


def test_the_document_is_openapi(document: Json) -> None:
    validate(document)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    used = json.dumps(document)
    unused = [name for name in document["components"]["schemas"] if f'"#/components/schemas/{name}"' not in used]
    assert not unused


def test_every_operation_refuses_who_is_not_known(document: Json, gateway: RunningGateway) -> None:
    """What the document says is behind a key is."""
    with httpx2.Client(base_url=gateway.url, **PLAIN) as nobody:
        for method, path, operation in operations(document):
            if operation["security"] and {} not in operation["security"]:
                response = nobody.request(method, filled(path, operation), json={})
                assert response.status_code == 401, (method, path, response.text)


def test_every_example_is_answered_as_described(document: Json, gateway: RunningGateway) -> None:
    """Each request of the document, as it stands there; the answer has no member of which nothing is said."""
    live = {NO_RECEIPT: gateway.ask("for its receipt").receipt_id}
    with gateway.client() as owner:
        wait_for(lambda: owner.get(f"/v1/aci/receipts/{live[NO_RECEIPT]}/proof").is_success, 60, "no checkpoint")
        live[OWN_KEY] = owner.get("/v1/credits").json()["key_id"]
    tokens = {"adminToken": gateway.demo["admin_token"], "bearer": gateway.api_key}
    with httpx2.Client(base_url=gateway.url, **PLAIN) as client:
        for method, path, operation in operations(document):
            kind = next(iter((operation["security"] or [{"bearer": []}])[0]), "bearer")
            for name, body in examples(operation):
                url, sent = filled(path, operation), json.dumps(body)
                for example, known in live.items():
                    url, sent = url.replace(example, known), sent.replace(example, known)
                head = {"authorization": f"Bearer {tokens[kind]}"}
                response = client.request(
                    method, url, params=queries(operation), content=sent if body else b"", headers=head
                )
                answered = judge(document, operation, response, f"{method} {url} {name}")
                missing = operation["operationId"] in MISSING
                assert response.is_success != missing, f"{method} {url}: {response.status_code} {response.text[:300]}"
                if method == "POST" and "id" in answered:  # later examples are about what this one made
                    live[MADE.get(operation["operationId"], "nothing that is named")] = answered["id"]


def examples(operation: Json) -> list[tuple[str, Json]]:
    """The bodies that the document shows; none for what takes none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    shown = [(name, row["value"]) for name, row in content.get("examples", {}).items()]
    assert shown or not content, f"{operation['operationId']} shows no example"
    return shown or [("", None)]


def filled(path: str, operation: Json) -> str:
    """The path with the examples of its parameters."""
    for row in operation.get("parameters", []):
        if row["in"] == "path":
            path = path.replace("{" + row["name"] + "}", row["example"])
    assert "{" not in path, f"{path}: a parameter without an example"
    return path


def queries(operation: Json) -> dict[str, str]:
    rows = operation.get("parameters", [])
    return {row["name"]: row["example"] for row in rows if row["in"] == "query" and "example" in row}


def judge(document: Json, operation: Json, response: httpx2.Response, words: str) -> Json:
    """The status is one of the document's, and so are the media type and every member."""
    described = operation["responses"].get(str(response.status_code))
    assert described is not None, f"{words}: {response.status_code} {response.text[:300]}"
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in described["content"], f"{words}: {kind}"
    if kind == "application/json":
        schema = {**described["content"][kind]["schema"], "components": closed(document["components"])}
        jsonschema.Draft202012Validator(closed(schema)).validate(response.json())
        return response.json()
    return {}


def closed(schema: Json) -> Json:
    """The schema, refusing members of which it says nothing, unless it says that it does not know them all."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if schema.get("type") in ("object", ["object", "null"]) and isinstance(schema.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    return made
