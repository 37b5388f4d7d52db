"""docs/engine.md: its examples run as written, against a provider at a socket; and the engine's layers and extras."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import gateway.engine as face
from tests.worlds.pools import said, streamed
from tests.worlds.upstream import ScriptedUpstream, scripted_upstream

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "engine.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LAYERS = ("core", "protocol", "host")
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
Names = dict[str, Any]


@pytest.fixture
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as upstream:
        yield upstream


@pytest.fixture
def names(provider: ScriptedUpstream) -> Names:
    """What the page's examples define; where it says OpenAI's address, the provider's stands."""
    found: Names = {}
    assert len(BLOCKS) == 6
    for block in BLOCKS:
        assert "https://api.openai.com" in block or "api.openai" not in block
        exec(compile(block.replace("https://api.openai.com", provider.base_url), "docs/engine.md", "exec"), found)
    return found


def test_the_minimal_stack(names: Names, provider: ScriptedUpstream) -> None:
    """R123: the smallest use answers a raw body; building and converting may fail."""
    provider.play(said("Hello from the page"))
    assert asyncio.run(names["handle_chat"](BODY)) == "Hello from the page"
    assert provider.got.path == "/v1/chat/completions"
    with pytest.raises(face.InvalidRequest):
        asyncio.run(names["handle_chat"]({"messages": []}))
    provider.play(streamed("no"))
    with pytest.raises(RuntimeError, match="not streamed"):
        asyncio.run(names["handle_chat"]({**BODY, "stream": True}))


def test_pools_streams_and_hooks(names: Names, provider: ScriptedUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    """R96, R98, R99, R100, R109, R110: as the page writes them."""
    provider.play(streamed("Hel", "lo"))

    async def work() -> None:
        async with names["engine"] as engine:
            await names["sync"](engine, [names["pool"]])
            assert "".join(await names["stream_words"](engine)) == "Hello"
            assert await names["drop"](engine) is True

    asyncio.run(work())
    assert re.fullmatch(r"request req-\w+ finished in \d+ms\n", capsys.readouterr().out)


def test_a_driver_of_ones_own(names: Names) -> None:
    """R95, R128: as the page writes it."""

    async def work() -> None:
        engine = names["custom_engine"]
        echo = face.Endpoint(
            endpoint_id="e",
            provider_kind=face.ProviderKind.OPENAI_COMPATIBLE,
            driver_id="echo",
            base_url="http://nowhere.invalid",
            api_key=face.SecretString(""),
        )
        await engine.upsert_pool(face.ProviderPool("p", [echo]))
        request = face.openai_payload_to_chat_request(BODY, "m")
        session = await engine.proxy_chat(request, face.ExecutionTarget.pool("p"))
        assert session.response.output_text == "gpt-4o-mini heard you"
        await names["transport"].close()

    asyncio.run(work())


def test_a_host_and_its_framework(names: Names, provider: ScriptedUpstream) -> None:
    """R115, R116, R121, R122: the page's host answers by starlette's responses, whole and streamed."""
    provider.play(said("Hello yourself"))

    async def work() -> None:
        async with face.UniGatewayEngine.builder().with_builtin_http_drivers().build() as engine:
            state = names["AppState"](engine, "sk-env")
            missing = await names["serve_chat"](state, json.dumps(BODY).encode())
            assert missing.status_code == 404
            await engine.upsert_pool(names["pool"])
            whole = await names["serve_chat"](state, json.dumps(BODY).encode())
            assert json.loads(whole.body)["choices"][0]["message"]["content"] == "Hello yourself"
            provider.play(streamed("Hel", "lo"))
            stream = await names["serve_chat"](state, json.dumps({**BODY, "stream": True}).encode())
            assert stream.media_type == "text/event-stream"
            assert b"".join([piece async for piece in stream.body_iterator]).endswith(b"data: [DONE]\n\n")
            made = await state.env_pool(face.EnvProvider.OPENAI)
            assert made.pool is not None and await engine.get_pool(made.pool.pool_id) is made.pool
            assert (await state.env_pool(face.EnvProvider.OPENAI, "")).pool is None

    asyncio.run(work())


def test_the_face_only_passes_on() -> None:
    """R89, R90: each public name is the very object of its layer, and is defined in none of the faces."""
    for layer in LAYERS:
        module = importlib.import_module(f"gateway.engine.{layer}")
        assert getattr(face, layer) is module
        for name in module.__all__:
            thing = getattr(module, name)
            assert getattr(face, name) is thing
            assert getattr(thing, "__module__", "") not in ("gateway.engine", module.__name__)


def test_every_name_of_the_page_exists() -> None:
    """R89"""
    for name in re.findall(r"`([A-Z][A-Za-z]+)`", PAGE):
        places = (face, face.testing, face.LoadBalancingStrategy)
        assert any(hasattr(place, name) for place in places), name


def test_extras_and_one_version() -> None:
    """R91, R92, R129: the host's extra needs nothing else, its old name is the same, and there is one distribution."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["embed"] == extras["testing"] == ["saferouter[host]"]
    assert set(extras["host"]) <= set(extras["gateway"])
    assert version("saferouter")


def test_the_engine_needs_no_services() -> None:
    """R92, R130: importing and building it loads neither server nor database, and opens nothing."""
    code = (
        "import sys, gateway.engine as e\n"
        "e.UniGatewayEngine.builder().with_builtin_http_drivers().build()\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    heavy = ["starlette", "hypercorn", "sqlalchemy", "uvloop", "sqlite3", "typer"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
