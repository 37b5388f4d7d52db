"""The vocabulary of `gateway.models`: its words, its JSON byte for byte, and what parsing refuses."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway.models
from gateway import errors
from gateway.models import (
    EMPTY_USAGE,
    ApiKind,
    AssistantRole,
    AssistantTurn,
    Block,
    CancellationToken,
    CommandBlock,
    Conversation,
    DoneEmission,
    Emission,
    ErrorEmission,
    GatewayError,
    GatewayErrorKind,
    ImageBlock,
    Modality,
    ModelCard,
    ProviderId,
    Reply,
    StopEmission,
    StopReason,
    StreamOptions,
    TextBlock,
    TextEmission,
    ThinkingBlock,
    ThinkingEmission,
    ThinkingLevel,
    ToolCallBlock,
    ToolCallDeltaEmission,
    ToolCallStartEmission,
    ToolChoice,
    ToolDescriptor,
    ToolResultBlock,
    ToolTurn,
    Turn,
    Usage,
    UsageEmission,
    UserTurn,
    encode_shape,
    gateway_error,
    get_card,
    is_terminal,
    parse_shape,
)
from tee.errors import Malformed

REPLY = Reply("mock-1", (TextBlock("hi"),), Usage(3, 2, cache_read_tokens=1), StopReason.COMPLETE)
BLOCKS: list[tuple[Block, str]] = [
    (TextBlock("hé"), '{"kind":"text","text":"hé"}'),
    (ThinkingBlock("hm"), '{"kind":"thinking","text":"hm"}'),
    (ThinkingBlock("hm", "x#sig"), '{"kind":"thinking","text":"hm","signature":"x#sig"}'),
    (
        ToolCallBlock("c1", "echo", {"n": 1.0, "deep": [None, 1.5]}),
        '{"kind":"tool_call","id":"c1","name":"echo","input":{"n":1,"deep":[null,1.5]}}',
    ),
    (ToolResultBlock("c1", "ok"), '{"kind":"tool_result","callId":"c1","output":"ok"}'),
    (ToolResultBlock("c1", None, True), '{"kind":"tool_result","callId":"c1","output":null,"isError":true}'),
    (ImageBlock("image/png", "iVBO"), '{"kind":"image","mediaType":"image/png","dataBase64":"iVBO"}'),
    (CommandBlock("ls"), '{"kind":"command","command":"ls"}'),
    (CommandBlock("ls", ("-l",)), '{"kind":"command","command":"ls","args":["-l"]}'),
]
EMISSIONS: list[tuple[Emission, str]] = [
    (TextEmission("a"), '{"kind":"text","delta":"a"}'),
    (ThinkingEmission("b"), '{"kind":"thinking","delta":"b"}'),
    (ToolCallStartEmission("c1", "echo"), '{"kind":"tool_call_start","id":"c1","name":"echo"}'),
    (ToolCallDeltaEmission("c1", "{}"), '{"kind":"tool_call_delta","id":"c1","argsDelta":"{}"}'),
    (UsageEmission(Usage(1, 2)), '{"kind":"usage","usage":{"inputTokens":1,"outputTokens":2}}'),
    (StopEmission(StopReason.MAX_OUTPUT), '{"kind":"stop","stop":"max_output"}'),
    (
        DoneEmission(REPLY),
        '{"kind":"done","reply":{"role":"assistant","model":"mock-1","blocks":[{"kind":"text","text":"hi"}],'
        '"usage":{"inputTokens":3,"outputTokens":2,"cacheReadTokens":1},"stop":"complete"}}',
    ),
]


@pytest.mark.parametrize(("block", "text"), BLOCKS)
def test_every_block_has_its_json(block: Block, text: str) -> None:
    """R193, R199: `kind` first, camelCase members, whole numbers as JavaScript writes them."""
    assert encode_shape(block).decode() == text
    assert parse_shape(Block, text.encode()) == block  # type: ignore[arg-type]


@pytest.mark.parametrize(("emission", "text"), EMISSIONS)
def test_every_emission_has_its_json(emission: Emission, text: str) -> None:
    """R193, R256."""
    assert encode_shape(emission).decode() == text
    assert parse_shape(Emission, text.encode()) == emission  # type: ignore[arg-type]


def test_the_error_emission_keeps_kind_and_words_and_no_cause() -> None:
    """R211, R212, R256: what lies below an error is never written."""
    error = gateway_error(GatewayErrorKind.RATE_LIMIT, "slow down", status=429, provider="openai", cause=OSError("x"))
    text = '{"kind":"error","error":{"kind":"rate_limit","message":"slow down","status":429,"provider":"openai"}}'
    assert encode_shape(ErrorEmission(error)).decode() == text
    again = parse_shape(ErrorEmission, text.encode()).error
    assert (again.kind, again.message, again.upstream_status) == (GatewayErrorKind.RATE_LIMIT, "slow down", 429)
    assert (again.provider, again.cause) == ("openai", None)
    bare = encode_shape(ErrorEmission(gateway_error(GatewayErrorKind.ABORTED, "gone")))
    assert bare == b'{"kind":"error","error":{"kind":"aborted","message":"gone"}}'


def test_there_are_eight_emissions_and_two_of_them_end() -> None:
    """R256, R257."""
    error = ErrorEmission(gateway_error(GatewayErrorKind.HTTP, "no"))
    every = [emission for emission, _ in EMISSIONS] + [error]
    assert len({emission.kind for emission in every}) == 8
    assert [emission.kind for emission in every if is_terminal(emission)] == ["done", "error"]


def test_errors_have_seven_kinds_and_are_the_gateways() -> None:
    """R211, R212: one base to catch; more can be said of an error later."""
    assert [kind.value for kind in GatewayErrorKind] == [
        "auth", "rate_limit", "http", "transport", "parse", "unsupported", "aborted"
    ]  # fmt: skip
    error = gateway_error(GatewayErrorKind.TRANSPORT, "nobody answers")
    assert isinstance(error, errors.GatewayError)
    assert (error.upstream_status, error.provider, str(error)) == (None, None, "nobody answers")
    more = error.with_extra(provider="kimi", cause=OSError())
    assert (more.kind, more.provider, type(more.cause)) == (GatewayErrorKind.TRANSPORT, "kimi", OSError)
    assert error.provider is None


def test_the_words_are_those_of_the_contract() -> None:
    """R194, R195, R196, R205, R206, R207, R224: identities, languages, modalities, reasons, levels, choices."""
    assert [provider.value for provider in ProviderId] == [
        "anthropic", "openai", "google", "google-vertex", "amazon", "azure", "nvidia", "kimi", "minimax", "ollama",
        "mock",
    ]  # fmt: skip
    assert [api.value for api in ApiKind] == [
        "anthropic-messages", "openai-completions", "openai-responses", "google-generative", "google-vertex",
        "amazon-bedrock", "azure-openai", "nvidia-openai-compatible", "kimi-openai-compatible", "ollama", "mock",
    ]  # fmt: skip
    assert [each.value for each in Modality] == ["text", "image", "audio"]
    assert [each.value for each in StopReason] == [
        "complete", "tool_calls", "max_output", "refusal", "aborted", "error"
    ]  # fmt: skip
    assert [each.value for each in ThinkingLevel] == ["off", "low", "medium", "high", "max"]
    assert [each.value for each in ToolChoice] == ["auto", "required", "none"]


def test_a_conversation_round_trips() -> None:
    """R200, R201, R202: turns by `role`, tools with any schema, nothing for what is not said."""
    schema: dict[str, object] = {"type": "object", "properties": {"x": {"type": "string"}}}
    turns: tuple[Turn, ...] = (
        UserTurn((TextBlock("do"),)),
        AssistantTurn((ToolCallBlock("c1", "echo", {"x": "a"}),)),
        ToolTurn((ToolResultBlock("c1", {"ok": True}),)),
    )
    whole = Conversation(turns, system="Be terse.", tools=(ToolDescriptor("echo", "says it again", schema),))
    text = encode_shape(whole)
    assert parse_shape(Conversation, text) == whole
    assert b'{"role":"tool","blocks":[{"kind":"tool_result","callId":"c1"' in text
    assert encode_shape(Conversation((UserTurn(()),))) == b'{"turns":[{"role":"user","blocks":[]}]}'


def test_a_reply_says_that_the_assistant_speaks() -> None:
    """R203, R204: the role is a word of its own, and usage begins empty."""
    assert encode_shape(REPLY).startswith(b'{"role":"assistant","model":"mock-1"')
    assert [role.value for role in AssistantRole] == ["assistant"] == [REPLY.role]
    assert encode_shape(EMPTY_USAGE) == b'{"inputTokens":0,"outputTokens":0}'
    assert parse_shape(Reply, encode_shape(REPLY)) == REPLY


def test_options_are_all_optional_and_the_token_is_never_written() -> None:
    """R208: empty options are valid; wire names are camelCase; a key does not show."""
    assert encode_shape(StreamOptions()) == b"{}"
    options = StreamOptions(CancellationToken(), ThinkingLevel.LOW, 512, 0.2, 0.9, ToolChoice.NONE, "sk-secret-1")
    text = encode_shape(options)
    assert text == (
        b'{"thinking":"low","maxOutputTokens":512,"temperature":0.2,"topP":0.9,"toolChoice":"none",'
        b'"apiKey":"sk-secret-1"}'
    )
    assert parse_shape(StreamOptions, text) == options
    assert parse_shape(StreamOptions, b'{"cancel":{}}').cancel is None
    assert "sk-secret" not in repr(options)


def test_a_card_round_trips_with_its_costs() -> None:
    """R197, R198."""
    card = get_card("claude-opus-4")
    assert card is not None
    text = encode_shape(card)
    assert b'"displayName":"Claude Opus 4","contextWindow":200000,"maxOutputTokens":32000' in text
    assert b'"cost":{"inputPerMtok":15,"outputPerMtok":75,"cacheReadPerMtok":1.5,"cacheWritePerMtok":18.75}' in text
    assert parse_shape(ModelCard, text) == card


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b'{"turns":[{"role":"god","blocks":[]}]}', r"shape\.turns\[0\]"),
        (b'{"turns":[{"role":"user","blocks":[{"kind":"smell"}]}]}', r"shape\.turns\[0\]\.blocks\[0\]"),
        (b'{"turns":[{"role":"user","blocks":[{"kind":"text"}]}]}', r"blocks\[0\]\.text"),
        (b'{"turns":{}}', r"shape\.turns"),
        (b'{"turns":[],"system":7}', r"shape\.system"),
        (b'{"turns":[],"turns":[]}', "shape"),
        (b"[]", "shape"),
    ],
)
def test_what_is_no_conversation_is_refused_by_place(text: bytes, where: str) -> None:
    """R193: parsing is strict, and says where."""
    with pytest.raises(Malformed, match=where):
        parse_shape(Conversation, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "role", "turns", "blocks", "text", "error", "reply", "usage"]), inner
        )
    ),
)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    """R193: nothing but Malformed comes out of foreign JSON."""
    raw = encode_shape(value)
    for kind in (Conversation, Emission, Reply, StreamOptions, ModelCard):
        with suppress(Malformed):
            parse_shape(kind, raw)  # type: ignore[arg-type]


def test_the_face_gives_all_names_of_the_contract_and_keeps_two_back() -> None:
    """R180, R188, R246: the secret table is reached by its own path only."""
    offered = set(gateway.models.__all__)
    assert {
        "ApiKind", "AssistantRole", "Block", "Channel", "Connector", "Conversation", "CostSheet", "CredentialResolver",
        "Emission", "GatewayError", "GatewayErrorExtra", "GatewayErrorKind", "JsonSchema", "Modality", "ModelCard",
        "ProviderId", "Reply", "StopReason", "StreamOptions", "ThinkingLevel", "ToolChoice", "ToolDescriptor", "Turn",
        "Usage", "gateway_error", "to_google_contents", "to_google_system_instruction", "to_google_tools",
        "to_responses_input", "to_responses_tools", "complete_openai_compatible_chat", "OpenAICompatibleConfig",
        "build_auth_url", "exchange_code", "refresh_token", "oauth_config_for", "AuthUrlInputs", "OAuthConfig",
        "OAuthTokens", "PkcePair", "create_pkce_pair", "derive_code_challenge", "channel_of", "collect_reply",
        "sse_events", "ndjson_lines", "ServerEvent", "HttpRequest", "HttpResponse", "HttpTransport", "stream",
        "complete", "stream_with_card", "complete_with_card", "model_cards", "models", "get_card", "CardSelection",
        "estimate_cost", "connector_for_api", "resolve_secret", "SecretDescriptor", "SecretScheme",
        "environment_credential_resolver",
    } <= offered  # fmt: skip
    assert len([name for name in offered if name.startswith("create_") and name.endswith("_connector")]) == 11
    assert not {"secret_table", "describe_secret"} & offered
    rooms = ("contract", "connectors", "conversion", "catalog", "credentials", "streaming", "gateway")
    assert all(hasattr(gateway.models, room) for room in rooms)


def test_importing_it_brings_no_server_no_database_and_no_vendors_sdk() -> None:
    """R176, R262, R263: an HTTP client and nothing of the vendors'; one vocabulary, and no server beside it."""
    strange = (
        "openai", "anthropic", "boto3", "botocore", "google", "ollama", "oauthlib", "authlib", "starlette",
        "sqlalchemy", "hypercorn", "genai_prices", "gateway.http", "gateway.storage", "gateway.engine",
    )  # fmt: skip
    script = (
        "import sys, gateway.models\n"
        f"print([name for name in sys.modules for each in {strange} if name == each or name.startswith(each + '.')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_values_are_frozen() -> None:
    """R193: whoever holds a value holds it as it was."""
    assert [each.name for each in fields(Usage)] == [
        "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"
    ]  # fmt: skip
    with pytest.raises(AttributeError):
        EMPTY_USAGE.input_tokens = 1  # type: ignore[misc]


def test_core_errors_get_the_kind_that_a_caller_can_act_on() -> None:
    """R211: also what the gateway's own core raises has one of the seven kinds."""
    from gateway.models.conversion.emissions import gateway_failure

    kinds = {
        GatewayErrorKind.UNSUPPORTED: errors.InvalidRequest("x"),
        GatewayErrorKind.PARSE: errors.UpstreamFailed("x"),
        GatewayErrorKind.AUTH: errors.NoRoute("x"),
        GatewayErrorKind.TRANSPORT: errors.BodyTooLarge("x"),
    }
    for kind, error in kinds.items():
        assert gateway_failure(error, "openai").kind is kind
    own = GatewayError(GatewayErrorKind.ABORTED, "gone")
    assert gateway_failure(own, "openai") is own
