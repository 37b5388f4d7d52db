"""The connectors of `gateway.models` over real sockets: what each sends, and what recorded answers become."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.dialects.dialect import ProviderSide
from gateway.dialects.fold import fold_events
from gateway.dialects.sse import MAX_FRAME
from gateway.inference import Text, Thinking, ToolCall
from gateway.languages import SERVICES
from gateway.models import (
    ApiKind,
    AssistantTurn,
    CancellationToken,
    Conversation,
    DoneEmission,
    Emission,
    ErrorEmission,
    GatewayError,
    GatewayErrorKind,
    HttpRequest,
    HttpResponse,
    ModelCard,
    OpenAICompatibleConfig,
    ProviderId,
    StopReason,
    StreamOptions,
    TextBlock,
    TextEmission,
    ThinkingBlock,
    ThinkingLevel,
    ToolCallBlock,
    ToolDescriptor,
    ToolResultBlock,
    ToolTurn,
    Usage,
    UserTurn,
    complete,
    complete_openai_compatible_chat,
    complete_with_card,
    connector_for_api,
    create_openai_chat_connector,
    environment_credential_resolver,
    get_card,
    model_cards,
    shared_transport,
    stream,
    stream_with_card,
)
from gateway.models.connectors.live import place_card
from gateway.models.credentials import secret_table
from tests.conftest import find_vectors
from tests.worlds.canned import CHAT, CLAUDE, CONVERSE, GEMINI, HELLO, OLLAMA, RESPONSES
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream

ECHO = ToolDescriptor("echo", "says it again", {"type": "object", "properties": {"msg": {"type": "string"}}})
KEY = "sk-of-a-test-0001"
EVENTSTREAM = "application/vnd.amazon.eventstream"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for row in secret_table() for name in row.env_vars]:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as server:
        server.base_url = server.base_url.removesuffix("/v1")
        yield server


def card(api: ApiKind, provider: ScriptedUpstream, **changes: Any) -> ModelCard:
    """The first curated card of a language, or one made for it, served by `provider`."""
    known = next((each for each in model_cards() if each.api is api), None)
    if known is None:
        vendors = {
            ApiKind.GOOGLE_VERTEX: ProviderId.GOOGLE_VERTEX,
            ApiKind.AMAZON_BEDROCK: ProviderId.AMAZON,
            ApiKind.AZURE_OPENAI: ProviderId.AZURE,
        }
        known = replace(model_cards()[0], id="their-model", api=api, provider=vendors[api])
    return replace(known, **({"base_url": provider.base_url} | changes))


def emissions_of(model: ModelCard, options: StreamOptions | None = None, asked: Conversation = HELLO) -> list[Emission]:
    async def collect() -> list[Emission]:
        return [emission async for emission in stream_with_card(model, asked, options)]

    return asyncio.run(collect())


def failure_of(model: ModelCard, options: StreamOptions | None = None) -> GatewayError:
    """The error that a stream ends in; `complete` raises the same."""
    last = emissions_of(model, options)[-1]
    assert isinstance(last, ErrorEmission)
    with pytest.raises(GatewayError) as caught:
        asyncio.run(complete_with_card(model, HELLO, options))
    assert (caught.value.kind, caught.value.message) == (last.error.kind, last.error.message)
    return last.error


WIRES: list[tuple[ApiKind, str, bytes, str, tuple[str, str]]] = [
    (ApiKind.ANTHROPIC_MESSAGES, "/v1/messages", CLAUDE.replace(b"STOP", b"end_turn"), "text/event-stream",
     ("x-api-key", KEY)),
    (ApiKind.OPENAI_COMPLETIONS, "/v1/chat/completions", CHAT, "text/event-stream", ("authorization", f"Bearer {KEY}")),
    (ApiKind.OPENAI_RESPONSES, "/v1/responses", RESPONSES.replace(b"STATUS", b"completed"), "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.GOOGLE_GENERATIVE, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", GEMINI,
     "text/event-stream", ("x-goog-api-key", KEY)),
    (ApiKind.GOOGLE_VERTEX, "/v1beta/models/their-model:streamGenerateContent?alt=sse", GEMINI, "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.AMAZON_BEDROCK, "/model/their-model/converse-stream", CONVERSE, EVENTSTREAM,
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.AZURE_OPENAI, "/openai/deployments/their-model/chat/completions?api-version=2024-08-01-preview", CHAT,
     "text/event-stream", ("api-key", KEY)),
    (ApiKind.NVIDIA_OPENAI_COMPATIBLE, "/v1/chat/completions", CHAT, "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.KIMI_OPENAI_COMPATIBLE, "/v1/chat/completions", CHAT, "text/event-stream",
     ("authorization", f"Bearer {KEY}")),
    (ApiKind.OLLAMA, "/api/chat", OLLAMA, "application/x-ndjson", ("authorization", f"Bearer {KEY}")),
]  # fmt: skip


@pytest.mark.parametrize(("api", "path", "answer", "kind", "proof"), WIRES)
def test_every_language_asks_its_way_and_ends_in_done(
    api: ApiKind, path: str, answer: bytes, kind: str, proof: tuple[str, str],
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """R177, R179, R191, R224, R225, R233, R234, R236, R237, R239, R240, R241: path, credential, decoded answer."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    provider.play(Recording(answer, kind, piece=7))
    emissions = emissions_of(card(api, provider), StreamOptions(api_key=KEY))
    done = emissions[-1]
    assert isinstance(done, DoneEmission)
    text = "".join(each.delta for each in emissions if isinstance(each, TextEmission))
    assert done.reply.blocks == (TextBlock(text),) and text in ("Hi", "Hi you")
    assert done.reply.stop is StopReason.COMPLETE
    got = provider.got
    assert got.path == path and got.header(proof[0]) == proof[1]
    assert got.header("content-type") == "application/json"
    assert b"hello" in got.body and b"Be terse." in got.body


def test_the_registry_is_total_and_each_connector_knows_its_name() -> None:
    """R187, R209, R223, R224, R226, R227."""
    names = {api: connector.id for api in ApiKind if (connector := connector_for_api(api)) is not None}
    assert names == {
        ApiKind.ANTHROPIC_MESSAGES: "anthropic",
        ApiKind.OPENAI_COMPLETIONS: "openai-chat",
        ApiKind.OPENAI_RESPONSES: "openai-responses",
        ApiKind.GOOGLE_GENERATIVE: "google-generative",
        ApiKind.GOOGLE_VERTEX: "google-vertex",
        ApiKind.AMAZON_BEDROCK: "bedrock",
        ApiKind.AZURE_OPENAI: "azure-openai",
        ApiKind.NVIDIA_OPENAI_COMPATIBLE: "nvidia",
        ApiKind.KIMI_OPENAI_COMPATIBLE: "kimi",
        ApiKind.OLLAMA: "ollama",
        ApiKind.MOCK: "mock",
    }
    assert len(names) == 11
    for api in ApiKind:
        connector = connector_for_api(api)
        assert connector is not None and connector.api is api and connector is connector_for_api(api)


def test_a_language_that_nobody_speaks_gives_exactly_one_error(provider: ScriptedUpstream) -> None:
    """R192."""
    strange = replace(card(ApiKind.OLLAMA, provider), api="telepathy")  # type: ignore[arg-type]
    emissions = emissions_of(strange)
    assert len(emissions) == 1
    assert failure_of(strange).message == "no connector for dialect: telepathy"


def test_an_unknown_model_fails_before_anything_else() -> None:
    """R178, R181, R189."""
    with pytest.raises(GatewayError, match=r"^unknown model: nobody/knows-it$") as caught:
        stream("nobody/knows-it", HELLO)
    assert caught.value.kind is GatewayErrorKind.UNSUPPORTED
    with pytest.raises(GatewayError, match=r"^unknown model: nobody/knows-it$"):
        asyncio.run(complete("nobody/knows-it", HELLO))


def test_nothing_is_sent_before_iterating_and_each_iteration_sends_anew(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R181, R183, R190, R258: the key too is looked for at each iteration."""
    provider.play(Recording(CHAT))
    channel = stream_with_card(card(ApiKind.OPENAI_COMPLETIONS, provider), HELLO)
    assert provider.received == []

    async def drain() -> list[Emission]:
        return [emission async for emission in channel]

    (refused,) = asyncio.run(drain())
    assert isinstance(refused, ErrorEmission) and provider.received == []
    monkeypatch.setenv("OPENAI_API_KEY", "later")
    first, second = asyncio.run(drain()), asyncio.run(drain())
    assert first == second and isinstance(first[-1], DoneEmission)
    assert [each.credential for each in provider.received] == ["Bearer later"] * 2


@pytest.mark.parametrize("api", [api for api in ApiKind if api not in (ApiKind.OLLAMA, ApiKind.MOCK)])
def test_a_missing_key_is_an_error_that_names_the_variable(api: ApiKind, provider: ScriptedUpstream) -> None:
    """R192, R232: AUTH, the only emission, and nothing was sent."""
    provider.play(Recording(b""))
    model = card(api, provider)
    error = failure_of(model)
    named = {row.provider: row.env_vars for row in secret_table()}[model.provider]
    assert error.kind is GatewayErrorKind.AUTH and error.provider == model.provider
    assert all(name in error.message for name in named)
    assert len(emissions_of(model)) == 1 and provider.received == []


def test_ollama_needs_no_key(provider: ScriptedUpstream) -> None:
    """R241."""
    provider.play(Recording(OLLAMA, "application/x-ndjson"))
    assert isinstance(emissions_of(card(ApiKind.OLLAMA, provider))[-1], DoneEmission)
    assert provider.got.credential is None


def test_the_usual_addresses_are_those_of_the_vendors() -> None:
    """R225, R234, R236, R238, R240, R241: where a card names none."""
    wanted = {
        "claude-opus-4": "https://api.anthropic.com",
        "gpt-4o": "https://api.openai.com/v1",
        "o3": "https://api.openai.com/v1",
        "gemini-2.5-pro": "https://generativelanguage.googleapis.com/v1beta",
        "nvidia/llama-3.1-nemotron-70b-instruct": "https://integrate.api.nvidia.com/v1",
        "kimi-k2": "https://api.moonshot.ai/v1",
        "llama3.1:8b": "http://127.0.0.1:11434",
        "MiniMax-M2.7": "https://api.minimax.io/anthropic",
    }
    found = {}
    for name in wanted:
        known = get_card(name)
        assert known is not None
        found[name] = place_card(known, "").base_url
    assert found == wanted


def test_the_vendor_of_a_card_says_whose_key_is_used(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R225, R234: one language, two vendors; the version of its API is named."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-anthropic")
    monkeypatch.setenv("MINIMAX_API_KEY", "of-minimax")
    minimax = get_card("MiniMax-M2.7")
    assert minimax is not None
    for model, key in ((card(ApiKind.ANTHROPIC_MESSAGES, provider), "of-anthropic"), (minimax, "of-minimax")):
        provider.play(Recording(CLAUDE.replace(b"STOP", b"end_turn")))
        emissions_of(replace(model, base_url=provider.base_url))
        assert provider.got.header("x-api-key") == key
        assert provider.got.header("anthropic-version") == "2023-06-01"


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("end_turn", StopReason.COMPLETE),
        ("stop_sequence", StopReason.COMPLETE),
        ("tool_use", StopReason.TOOL_CALLS),
        ("max_tokens", StopReason.MAX_OUTPUT),
        ("refusal", StopReason.REFUSAL),
    ],
)
def test_anthropics_reasons(word: str, stop: StopReason, provider: ScriptedUpstream) -> None:
    """R235; and the cache's tokens stand apart (R204)."""
    provider.play(Recording(CLAUDE.replace(b"STOP", word.encode())))
    done = emissions_of(card(ApiKind.ANTHROPIC_MESSAGES, provider), StreamOptions(api_key=KEY))[-1]
    assert isinstance(done, DoneEmission)
    assert (done.reply.stop, done.reply.usage) == (stop, Usage(5, 3, cache_read_tokens=2))


@pytest.mark.parametrize(
    ("status", "why", "stop"),
    [
        ("completed", "", StopReason.COMPLETE),
        ("incomplete", "max_output_tokens", StopReason.MAX_OUTPUT),
        ("incomplete", "content_filter", StopReason.REFUSAL),
        ("failed", "", StopReason.ERROR),
        ("cancelled", "", StopReason.ABORTED),
    ],
)
def test_responses_statuses(status: str, why: str, stop: StopReason, provider: ScriptedUpstream) -> None:
    """R237: what failed or was cancelled says so, and ends in an error all the same."""
    provider.play(Recording(RESPONSES.replace(b"STATUS", status.encode()).replace(b"WHY", why.encode())))
    emissions = emissions_of(card(ApiKind.OPENAI_RESPONSES, provider), StreamOptions(api_key=KEY))
    said = [each.stop for each in emissions if each.kind == "stop"]  # type: ignore[union-attr]
    assert said == [stop]
    assert emissions[-1].kind == ("error" if stop in (StopReason.ERROR, StopReason.ABORTED) else "done")
    if stop is StopReason.ABORTED:
        assert isinstance(emissions[-1], ErrorEmission) and emissions[-1].error.kind is GatewayErrorKind.ABORTED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, GatewayErrorKind.HTTP),
        (401, GatewayErrorKind.AUTH),
        (403, GatewayErrorKind.AUTH),
        (404, GatewayErrorKind.HTTP),
        (429, GatewayErrorKind.RATE_LIMIT),
        (500, GatewayErrorKind.HTTP),
        (529, GatewayErrorKind.HTTP),
    ],
)
@pytest.mark.parametrize("api", [api for api in ApiKind if api is not ApiKind.MOCK])
def test_statuses_become_kinds(
    api: ApiKind, status: int, kind: GatewayErrorKind, provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R192, R211, R231: with the provider's own words."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    body = {"error": {"message": "their words", "type": "x"}, "message": "their words"}
    provider.play(Recording(json.dumps(body).encode(), "application/json", status))
    error = failure_of(card(api, provider), StreamOptions(api_key=KEY))
    assert (error.kind, error.upstream_status) == (kind, status)
    assert "their words" in error.message and KEY not in error.message


def test_when_to_come_back_is_kept(provider: ScriptedUpstream) -> None:
    """R211, R231: the seconds, and the provider's own word."""
    body = b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'
    for said, wait in (("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)):
        provider.play(Recording(body, "application/json", 429, (("retry-after", said),)))
        error = failure_of(card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY))
        assert (error.retry_after, error.code) == (wait, "rate_limit_exceeded")


def test_no_connection_outlives_its_loop(provider: ScriptedUpstream) -> None:
    """R190: kept connections, and those of streams that were left, end with the program's event loop."""
    model, options = card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY)
    provider.play(Recording(CHAT, piece=40))

    async def many() -> None:
        for _ in range(40):
            async with aclosing(aiter(stream_with_card(model, HELLO, options))) as leaving:
                await anext(leaving)
            await complete_with_card(model, HELLO, options)

    before = open_files()
    asyncio.run(many())
    for _ in range(3000):  # the provider lives here too, and closes its ends a little later
        if open_files() <= before:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"{open_files()} files are open, {before} were before")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_provider_that_nobody_reaches_is_a_transport_error(provider: ScriptedUpstream) -> None:
    """R229."""
    error = failure_of(card(ApiKind.OLLAMA, provider, base_url="http://127.0.0.1:1"))
    assert error.kind is GatewayErrorKind.TRANSPORT and error.message.startswith("ollama could not be reached")


@pytest.mark.parametrize("ending", ["cut", "end"])
def test_an_answer_that_breaks_off_is_an_error_and_what_came_was_shown(ending: str, provider: ScriptedUpstream) -> None:
    """R192, R257: whether the connection breaks or ends without the language's own end."""
    provider.play(Recording(CHAT[: CHAT.index(b"data: {", 5)], ending=ending))
    emissions = emissions_of(card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY))
    assert emissions[0] == TextEmission("Hi")
    assert isinstance(emissions[-1], ErrorEmission)
    assert emissions[-1].error.kind is GatewayErrorKind.TRANSPORT


def test_what_is_no_answer_is_a_parse_error(provider: ScriptedUpstream) -> None:
    """R211: a page where an answer was wanted, an answer that does not stream, a broken frame."""
    model, options = card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY)
    provider.play(Recording(b"<html>welcome</html>", "text/html"))
    assert failure_of(model, options).kind is GatewayErrorKind.PARSE
    whole = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    provider.play(Recording(json.dumps(whole).encode(), "application/json"))
    done = emissions_of(model, options)[-1]
    assert isinstance(done, DoneEmission) and done.reply.blocks == (TextBlock("Hi"),)


def test_a_key_never_goes_over_an_open_line(provider: ScriptedUpstream) -> None:
    """R232: only TLS, or this machine."""
    error = failure_of(
        card(ApiKind.OPENAI_COMPLETIONS, provider, base_url="http://provider.example/v1"), StreamOptions(api_key=KEY)
    )
    assert error.kind is GatewayErrorKind.UNSUPPORTED and KEY not in error.message


def test_azure_wants_the_operators_own_resource(provider: ScriptedUpstream) -> None:
    """R239: there is no public address to fall back on; newer paths are chosen by the URL."""
    error = failure_of(card(ApiKind.AZURE_OPENAI, provider, base_url=None), StreamOptions(api_key=KEY))
    assert error.kind is GatewayErrorKind.UNSUPPORTED and "resource" in error.message
    provider.play(Recording(CHAT))
    base_url = provider.base_url + "/openai/v1"
    emissions_of(card(ApiKind.AZURE_OPENAI, provider, base_url=base_url), StreamOptions(api_key=KEY))
    assert provider.got.path == "/openai/v1/chat/completions"


def test_thinking_reaches_a_model_that_reasons_and_no_other(provider: ScriptedUpstream) -> None:
    """R237, R238: effort for Responses, a template's word for NIM."""
    options = StreamOptions(api_key=KEY, thinking=ThinkingLevel.MAX)
    provider.play(Recording(RESPONSES.replace(b"STATUS", b"completed")))
    emissions_of(card(ApiKind.OPENAI_RESPONSES, provider), options)
    assert json.loads(provider.got.body)["reasoning"]["effort"] == "high"
    nim = card(ApiKind.NVIDIA_OPENAI_COMPATIBLE, provider)
    for reasons in (True, False):
        provider.play(Recording(CHAT))
        emissions_of(replace(nim, reasoning=reasons), options)
        said = json.loads(provider.got.body).get("chat_template_kwargs")
        assert said == ({"thinking": True, "enable_thinking": True} if reasons else None)


def test_the_shared_streamer_takes_any_address_and_asks_for_the_usage(provider: ScriptedUpstream) -> None:
    """R233, R250, R251, R254."""
    provider.play(Recording(CHAT))
    url = f"{provider.base_url}/anywhere?x=1"
    config = OpenAICompatibleConfig(url, {"x-own": "1"}, {"temperature": 0.5, "own": {"a": 1}})
    model = card(ApiKind.OPENAI_COMPLETIONS, provider)
    reply = asyncio.run(complete_openai_compatible_chat(config, model, HELLO, StreamOptions(temperature=0.1)))
    assert reply.blocks == (TextBlock("Hi you"),) and reply.usage == Usage(5, 2, cache_read_tokens=4)
    body = json.loads(provider.got.body)
    assert (provider.got.path, provider.got.header("x-own")) == ("/anywhere?x=1", "1")
    assert (body["temperature"], body["own"], body["stream_options"]) == (0.5, {"a": 1}, {"include_usage": True})


def test_bedrock_signs_with_the_environments_keys_or_a_profile(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """R242 and contradiction C11: it works, with a signature or a token; without a region it says so."""
    model = card(ApiKind.AMAZON_BEDROCK, provider)
    assert failure_of(model, StreamOptions(api_key=KEY)).message.startswith("amazon: no region: set AWS_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    assert failure_of(model).kind is GatewayErrorKind.AUTH  # half a key
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session")
    provider.play(Recording(CONVERSE, EVENTSTREAM))
    assert isinstance(emissions_of(model)[-1], DoneEmission)
    signed = provider.got
    assert (signed.credential or "").startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/bedrock/aws4_request" in (signed.credential or "")
    assert signed.header("x-amz-security-token") == "the-session"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "work")
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id=NO\naws_secret_access_key=NO\n"
        "[work]\naws_access_key_id=AKIDWORK\naws_secret_access_key=s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    provider.play(Recording(CONVERSE, EVENTSTREAM))
    emissions_of(model)
    assert (provider.got.credential or "").startswith("AWS4-HMAC-SHA256 Credential=AKIDWORK/")


def test_vertex_takes_the_project_from_the_environment_or_the_key_file(
    provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """R245: a project alone opens nothing, a file that cannot be read is a missing key."""
    model = card(ApiKind.GOOGLE_VERTEX, provider, base_url=None)
    assert "no project" in failure_of(model, StreamOptions(api_key=KEY)).message
    key_file = json.dumps({"type": "service_account", "project_id": "of-the-file"})
    assert "/projects/of-the-file/" in place_card(model, key_file).base_url
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-cloud")
    assert failure_of(model).kind is GatewayErrorKind.AUTH
    assert "/projects/of-the-cloud/" in place_card(model, KEY).base_url
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    assert failure_of(model).kind is GatewayErrorKind.AUTH
    (tmp_path / "absent.json").write_text(key_file)
    broken = failure_of(model)
    assert broken.kind is GatewayErrorKind.AUTH and "key file" in broken.message


def test_a_tool_loop_over_the_wire(provider: ScriptedUpstream) -> None:
    """R191, R250, R252: a call streams in pieces, and its result goes back in the language's own form."""
    pieces: list[dict[str, Any]] = [
        {"id": "c1", "function": {"name": "echo", "arguments": ""}},
        {"function": {"arguments": '{"msg":'}},
        {"function": {"arguments": '"hi"}'}},
    ]
    deltas: list[dict[str, Any]] = [{"delta": {"tool_calls": [{"index": 0, **piece}]}} for piece in pieces]
    chunks = [{"choices": [each]} for each in (*deltas, {"delta": {}, "finish_reason": "tool_calls"})]
    calls = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    model, options = card(ApiKind.OPENAI_COMPLETIONS, provider), StreamOptions(api_key=KEY)
    asked = replace(HELLO, tools=(ECHO,))
    provider.play(Recording(calls, piece=11))
    emissions = emissions_of(model, options, asked)
    assert [each.kind for each in emissions] == [
        "tool_call_start", "tool_call_delta", "tool_call_delta", "stop", "done"
    ]  # fmt: skip
    done = emissions[-1]
    assert isinstance(done, DoneEmission)
    assert done.reply.blocks == (ToolCallBlock("c1", "echo", {"msg": "hi"}),)
    turns = (*asked.turns, AssistantTurn(done.reply.blocks), ToolTurn((ToolResultBlock("c1", {"said": "hi"}),)))
    provider.play(Recording(CHAT))
    emissions_of(model, options, replace(asked, turns=turns))
    sent = json.loads(provider.got.body)["messages"]
    assert sent[-1] == {"role": "tool", "tool_call_id": "c1", "content": '{"said":"hi"}'}
    assert sent[-2]["tool_calls"][0]["function"] == {"name": "echo", "arguments": '{"msg":"hi"}'}


def test_signed_thoughts_go_back_to_their_own_vendor_only(provider: ScriptedUpstream) -> None:
    """R199: a seal is kept in the reply, and no other vendor is given it."""
    thought = (
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}\n\n'
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"SEAL"}}\n\n'
        b'data: {"type":"content_block_stop","index":0}\n\n'
    )
    claude, options = card(ApiKind.ANTHROPIC_MESSAGES, provider), StreamOptions(api_key=KEY)
    at = CLAUDE.index(b"event: content_block_start")
    provider.play(Recording(CLAUDE[:at] + thought + CLAUDE[at:].replace(b"STOP", b"end_turn")))
    done = emissions_of(claude, options)[-1]
    assert isinstance(done, DoneEmission)
    assert done.reply.blocks == (ThinkingBlock("hm", "anthropic_messages#SEAL"), TextBlock("Hi"))
    turns = (*HELLO.turns, AssistantTurn(done.reply.blocks), UserTurn((TextBlock("go on"),)))
    for model, answer in (
        (claude, CLAUDE.replace(b"STOP", b"end_turn")),
        (card(ApiKind.GOOGLE_GENERATIVE, provider), GEMINI),
    ):
        provider.play(Recording(answer))
        emissions_of(model, options, Conversation(turns))
        assert (b'"signature":"SEAL"' in provider.got.body) is (model is claude)
        assert (b"SEAL" in provider.got.body) is (model is claude)


@pytest.mark.parametrize("moment", ["before", "head", "body"])
def test_cancelling_ends_the_call_wherever_it_is(moment: str, provider: ScriptedUpstream) -> None:
    """R208, R229, R259, R261: distinct words for before and while, never a transport error; the provider is left."""
    token = CancellationToken()
    silent = Recording(CHAT[: CHAT.index(b"data: {", 5)] if moment == "body" else b"", ending="hold")
    provider.play(silent)
    model = card(ApiKind.OPENAI_COMPLETIONS, provider)
    channel = stream_with_card(model, HELLO, StreamOptions(token, api_key=KEY))

    async def ask() -> list[Emission]:
        if moment == "before":
            token.cancel()
        emissions = []
        async with aclosing(aiter(channel)) as arriving:
            if moment == "head":
                threading.Thread(target=cancel_when_asked).start()
            async for emission in arriving:
                emissions.append(emission)
                token.cancel()
        return emissions

    def cancel_when_asked() -> None:
        while not provider.received:
            threading.Event().wait(0.01)
        token.cancel()

    *shown, last = asyncio.run(ask())
    assert isinstance(last, ErrorEmission) and last.error.kind is GatewayErrorKind.ABORTED
    assert shown == ([TextEmission("Hi")] if moment == "body" else [])
    if moment == "before":
        assert last.error.message == "request aborted before it was sent" and provider.received == []
        return
    assert " while " in last.error.message
    assert provider.abandoned.wait(20)


def test_the_transport_refuses_to_begin_what_is_cancelled(provider: ScriptedUpstream) -> None:
    """R228, R229, R230: the words are the caller's; a body is taken once; json unless said otherwise."""
    token = CancellationToken()
    token.cancel()

    async def post(request: HttpRequest) -> HttpResponse:
        return await shared_transport.post(request, "somebody", "not reached", "given up")

    with pytest.raises(GatewayError, match=r"^given up$"):
        asyncio.run(post(HttpRequest(provider.base_url, {}, b"{}", token)))
    with pytest.raises(GatewayError, match=r"^not reached: "):
        asyncio.run(post(HttpRequest("http://127.0.0.1:1/x", {}, b"{}")))

    async def take() -> tuple[int, bool, bool, str, bool]:
        response = await post(HttpRequest(provider.base_url + "/x", {"content-type": "text/plain"}, b"hi"))
        known = (response.status, response.ok, response.has_body(), await response.text(), response.has_body())
        with pytest.raises(GatewayError, match="taken before"):
            await response.text()
        return known

    provider.play(Recording(b"their body", "text/plain", 418))
    assert asyncio.run(take()) == (418, False, True, "their body", False)
    assert provider.got.header("content-type") == "text/plain"
    assert provider.got.head.startswith("POST /x ") and provider.got.body == b"hi"


def test_a_host_may_bring_its_own_transport_and_resolver() -> None:
    """R179, R209, R210, R227, R228: the two seams of a connector."""
    seen: list[HttpRequest] = []

    class Tape:
        async def post(
            self, request: HttpRequest, provider: str, transport_message: str, aborted_message: str
        ) -> HttpResponse:
            seen.append(request)

            async def body() -> Any:
                yield CHAT

            return HttpResponse(200, body(), "text/event-stream; charset=utf-8")

    class Vault:
        async def resolve(self, provider: ProviderId, override: str | None = None) -> str | None:
            return f"vault-of-{provider.value}"

    model = get_card("gpt-4o")
    assert model is not None
    connector = create_openai_chat_connector(Vault(), Tape())
    reply = asyncio.run(connector.complete(model, HELLO, StreamOptions()))
    assert reply.blocks == (TextBlock("Hi you"),) and reply.model == "gpt-4o"
    assert seen[0].headers["authorization"] == "Bearer vault-of-openai"
    assert seen[0].url == "https://api.openai.com/v1/chat/completions"
    assert "vault" not in repr(seen[0]) and "vault" not in repr(connector)
    assert create_openai_chat_connector(environment_credential_resolver()).api is ApiKind.OPENAI_COMPLETIONS


def test_the_mock_plays_two_transcripts_without_network_or_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """R243: an echo call while the tool is offered and unanswered, prose everywhere else; the same each time."""
    import socket

    def no_socket(*_: Any, **__: Any) -> None:
        raise AssertionError("the mock opened a socket")

    model = get_card("mock-1")
    assert model is not None
    offered = replace(HELLO, tools=(ECHO,))
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(socket, "socket", no_socket)

    def play(asked: Conversation, options: StreamOptions | None = None) -> list[Emission]:
        async def collect() -> list[Emission]:
            return [emission async for emission in stream_with_card(model, asked, options)]

        return loop.run_until_complete(collect())

    calling, prose = play(offered), play(HELLO)
    assert calling == play(offered) and prose == play(HELLO)
    assert [each.kind for each in calling][:3] == ["text", "text", "tool_call_start"]
    assert calling[:2] == [TextEmission("Hello"), TextEmission(" world")]
    done = calling[-1]
    assert isinstance(done, DoneEmission) and done.reply.stop is StopReason.TOOL_CALLS
    call = done.reply.blocks[1]
    assert isinstance(call, ToolCallBlock) and call.name == "echo" and isinstance(call.input, dict)
    assert done.reply.usage.input_tokens > 0 < done.reply.usage.output_tokens
    ended = prose[-1]
    assert isinstance(ended, DoneEmission) and ended.reply.stop is StopReason.COMPLETE
    answered = (*offered.turns, AssistantTurn((call,)), ToolTurn((ToolResultBlock(call.id, "back"),)))
    last = play(replace(offered, turns=answered))[-1]
    assert isinstance(last, DoneEmission) and last.reply.stop is StopReason.COMPLETE
    token = CancellationToken()
    token.cancel()
    (gone,) = play(HELLO, StreamOptions(token))
    assert isinstance(gone, ErrorEmission) and gone.error.kind is GatewayErrorKind.ABORTED
    monkeypatch.undo()
    loop.close()


RECORDED = {
    "openai-chat": ApiKind.OPENAI_COMPLETIONS,
    "kimi": ApiKind.KIMI_OPENAI_COMPATIBLE,
    "nvidia": ApiKind.NVIDIA_OPENAI_COMPATIBLE,
    "azure": ApiKind.AZURE_OPENAI,
    "anthropic": ApiKind.ANTHROPIC_MESSAGES,
    "minimax": ApiKind.ANTHROPIC_MESSAGES,
    "openai-responses": ApiKind.OPENAI_RESPONSES,
    "gemini": ApiKind.GOOGLE_GENERATIVE,
    "vertex": ApiKind.GOOGLE_VERTEX,
    "bedrock": ApiKind.AMAZON_BEDROCK,
    "ollama": ApiKind.OLLAMA,
}
KINDS = {".sse": "text/event-stream", ".bin": EVENTSTREAM, ".ndjson": "application/x-ndjson"}


@pytest.mark.parametrize("folder", RECORDED)
def test_recorded_streams_become_what_the_core_makes_of_them(
    folder: str, provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R191, R224, R233, R252: over a socket, in pieces; text, thoughts and calls are those of the core's own fold."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    model = card(RECORDED[folder], provider)
    side = SERVICES["/v1/chat/completions"].providers[_dialect(model)]
    streams = [
        path
        for path in sorted((find_vectors() / "dialects" / folder).glob("*.response.*"))
        if KINDS.get(path.suffix) == side.stream_type
    ]
    assert streams or folder == "ollama"
    for path in streams:
        provider.play(Recording(path.read_bytes(), side.stream_type, piece=211))
        emissions = emissions_of(model, StreamOptions(api_key=KEY))
        _compare(side, path.read_bytes(), emissions)


def _dialect(model: ModelCard) -> str:
    return place_card(model, KEY).dialect


def _compare(side: ProviderSide, raw: bytes, emissions: list[Emission]) -> None:
    decoder = side.decoder(MAX_FRAME)
    whole = fold_events([*decoder.push(raw), *decoder.finish()])
    last = emissions[-1]
    if whole.failure is not None:
        assert isinstance(last, ErrorEmission) and last.error.message == whole.failure.message
        return
    assert isinstance(last, DoneEmission)
    blocks = last.reply.blocks
    texts = "".join(block.text for block in blocks if isinstance(block, TextBlock))
    thoughts = "".join(block.text for block in blocks if isinstance(block, ThinkingBlock))
    assert texts == "".join(block.text for block in whole.blocks if isinstance(block, Text))
    assert thoughts == "".join(block.text for block in whole.blocks if isinstance(block, Thinking))
    wanted = [(call.name, call.arguments) for call in whole.blocks if isinstance(call, ToolCall)]
    calls = [block for block in blocks if isinstance(block, ToolCallBlock)]
    assert [call.name for call in calls] == [name for name, _ in wanted]
    assert [call.input for call in calls] == [json.loads(arguments or "{}") for _, arguments in wanted]
    assert len({call.id for call in calls}) == len(calls)
    usage = last.reply.usage
    cache = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    assert usage.output_tokens == whole.usage.completion_tokens
    assert usage.input_tokens + cache >= whole.usage.prompt_tokens
