"""Every recorded answer of a real provider: read, written for every surface, and played to every kind of client."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.connectors.catalog import FAMILIES
from gateway.connectors.quirks_table import quirks_of
from gateway.dialects.dialect import ProviderSide
from gateway.dialects.fold import Reply, fold_events
from gateway.errors import InvalidRequest, UpstreamFailed
from gateway.inference import Failure, Finish, Media, Refusal, StreamEvent, Text, ToolCall, ToolCallDelta, Usage
from gateway.languages import SERVICES
from tests.test_translation import ASKED, decoded, streamed
from tests.worlds.families import EveryFamily, every_family
from tests.worlds.gateway import Answered, chat_body, responses_body
from tests.worlds.recordings import NOT_ANSWERS, Recorded, recorded_answers, recorded_requests

PROVIDERS = SERVICES["/v1/chat/completions"].providers
PATHS = {
    "/v1/chat/completions": ("openai_chat", chat_body),
    "/v1/responses": ("openai_responses", responses_body),
    "/v1/messages": ("anthropic_messages", chat_body),
}
REFUSED_KEY = 502


def answers() -> list[Recorded]:
    return [row for row in recorded_answers()[0] if row.language]


def events_of(row: Recorded) -> list[StreamEvent]:
    provider = PROVIDERS[row.language]
    return decoded(provider, row.raw, 211) if row.streamed else provider.decode_answer(row.raw)


def said(reply: Reply) -> str:
    """All words of an answer, whether it says or refuses."""
    return "".join(block.text for block in reply.blocks if isinstance(block, Text | Refusal))


def calls(reply: Reply) -> list[tuple[str, Any]]:
    """The tools that an answer calls. Where a language has no tools of plain text, that is a member `input`."""
    found = [block for block in reply.blocks if isinstance(block, ToolCall)]
    return [(call.name, {"input": call.arguments} if call.custom else json.loads(call.arguments or "{}"))
            for call in found]  # fmt: skip


def has_place(events: list[StreamEvent], path: str) -> bool:
    """Whether the surface of this path can show all of it: pictures go into words, or into members, in three."""
    return path != "/v1/completions" or not any(isinstance(event, Media) for event in events)


def test_every_recording_is_an_answer_a_refusal_or_named_as_neither() -> None:
    found, others = recorded_answers()
    assert len(found) >= 250 and len(others) < 16
    for part in NOT_ANSWERS:
        assert any(part in name for name in others), part
    kinds = Counter((row.language, row.streamed) for row in found)
    for language in ("openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock_converse", "ollama"):
        assert kinds[language, True] >= 4 and kinds[language, False] >= 4, language
    assert sum(1 for row in found if not row.language) >= 12


@pytest.mark.parametrize("path", [*PATHS, "/v1/completions"])
def test_every_answer_can_be_written_for_every_surface(path: str) -> None:
    surface = SERVICES[path].surface
    provider = PROVIDERS.get(surface.name)
    for row in answers():
        events = events_of(row)
        assert not any(isinstance(event, Failure) for event in events), row
        before = fold_events(events)
        if not has_place(events, path):
            with pytest.raises(UpstreamFailed, match="no place"):
                surface.encode_answer(events, ASKED, "t", 1, None)
            continue
        whole, stream = surface.encode_answer(events, ASKED, "t", 1, None), streamed(surface, events)
        if provider is None:  # text completions: no provider of ours is asked in them as a translation
            assert json.loads(whole)["choices"][0]["text"] == said(before), row
            continue
        for again in (provider.decode_answer(whole), decoded(provider, stream, 97)):
            check_same(row, before, fold_events(again))


def check_same(row: Recorded, before: Reply, after: Reply) -> None:
    assert calls(after) == calls(before), row
    assert after.finish.reason == before.finish.reason, row
    assert after.usage.total_tokens == before.usage.total_tokens, row
    assert said(before) in said(after), row  # a picture may have become words beside them


def test_every_request_of_a_client_can_be_asked_in_every_language() -> None:
    seen: Counter[str] = Counter()
    for path, sent in recorded_requests():
        place = "/v1/responses" if "input" in sent else "/v1/messages" if "/anthropic" in str(path) else ""
        if not place and ("messages" not in sent or path.parent.name in ("minimax",)):
            continue
        service = SERVICES[place or "/v1/chat/completions"]
        if service.surface.name == "anthropic_messages" and "max_tokens" not in sent:
            continue
        request = service.surface.decode_request(path.read_bytes())
        for family, row in FAMILIES.items():
            try:
                written = service.providers[row.dialect].encode_request(request, quirks_of(family, request.model))
            except InvalidRequest as error:
                assert error.param, path.name
                continue
            assert json.loads(written), path.name
            seen[family] += 1
    assert min(seen.values()) >= 80, seen


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[EveryFamily]:
    with every_family(tmp_path_factory.mktemp("fixtures"), chip_file) as running:
        yield running


def post(world: EveryFamily, row: Recorded, path: str) -> Answered:
    body = PATHS[path][1]
    fields: dict[str, Any] = {"max_tokens": 64} if path == "/v1/messages" else {}
    if row.streamed and path == "/v1/chat/completions":
        fields["stream_options"] = {"include_usage": True}
    world.play(row.raw, row.content_type, row.status, piece=1777)
    return world.gateway.post(body("hi", row.family, stream=row.streamed, **fields), path)


def read_back(provider: ProviderSide, row: Recorded, answered: Answered) -> list[StreamEvent]:
    return decoded(provider, answered.raw) if row.streamed else provider.decode_answer(answered.raw)


@pytest.mark.parametrize("path", list(PATHS))
def test_every_answer_reaches_every_kind_of_client_over_sockets(world: EveryFamily, path: str) -> None:
    provider = PROVIDERS[PATHS[path][0]]
    verified: set[str] = set()
    for row in answers():
        answered = post(world, row, path)
        assert answered.status == 200, (row, answered.raw[:300])
        assert b'"_sf_attestation"' in answered.raw, row
        check_same(row, fold_events(events_of(row)), fold_events(read_back(provider, row, answered)))
        if row.family not in verified:  # the judgement is the same code for all, and slow
            verified.add(row.family)
            world.gateway.verified(answered)
    assert len(verified) >= 13, verified


@pytest.mark.parametrize("path", list(PATHS))
def test_every_refusal_reaches_every_kind_of_client_over_sockets(world: EveryFamily, path: str) -> None:
    provider = PROVIDERS[PATHS[path][0]]
    for row in (row for row in recorded_answers()[0] if not row.language):
        answered = post(world, row, path)
        ours = row.status in (401, 402, 403)
        assert answered.status == (REFUSED_KEY if ours else row.status), (row, answered.raw)
        failure = provider.decode_error(answered.raw, answered.status)
        theirs = PROVIDERS[FAMILIES[row.family].dialect].decode_error(row.raw, row.status)
        assert failure.message.endswith(theirs.message) is not ours, row  # the member at fault may stand before it
        world.gateway.verified(answered)


def test_usage_of_every_answer_is_plausible() -> None:
    """Parts are parts: no class of tokens is more than the whole that holds it."""
    counted = 0
    for row in answers():
        for usage in (event for event in events_of(row) if isinstance(event, Usage)):
            in_prompt = usage.cached_tokens + usage.cache_write_tokens
            assert max(in_prompt, usage.audio_prompt_tokens) <= usage.prompt_tokens, row
            assert max(usage.reasoning_tokens, usage.audio_completion_tokens) <= usage.completion_tokens, row
            counted += 1
    assert counted >= 150


@pytest.mark.parametrize("path", list(PATHS))
def test_a_call_of_plain_text_streams_whole_into_every_language(path: str) -> None:
    """A program in any number of pieces, quotes, line ends and all, beside another call."""
    program = ['print("', "a\\", 'n")\n', "\u00e9\U0001f600"]
    events: list[StreamEvent] = [
        ToolCallDelta(0, "call_0", "run", program[0], custom=True),
        ToolCallDelta(1, "call_1", "weather", '{"city":'),
        *(ToolCallDelta(0, None, None, piece) for piece in program[1:]),
        ToolCallDelta(1, None, None, '"Oslo"}'),
        Finish("tool_calls"),
    ]
    surface = SERVICES[path].surface
    again = fold_events(decoded(PROVIDERS[surface.name], streamed(surface, events), 7))
    assert calls(again) == [("run", {"input": "".join(program)}), ("weather", {"city": "Oslo"})]
    assert (b'"custom"' in streamed(surface, events)) is (path == "/v1/chat/completions")


def test_a_damaged_line_is_skipped_and_counted_in_every_language_of_lines() -> None:
    seen: Counter[str] = Counter()
    for row in (row for row in answers() if row.streamed and row.language != "bedrock_converse"):
        provider, raw = PROVIDERS[row.language], row.raw
        lines = row.language == "ollama"
        damage = b'{"mess\n' if lines else b'data: {"choi\n\n'
        ends = [at + len(end) for end in ((b"\n",) if lines else (b"\n\n", b"\r\n\r\n"))
                for at in range(len(raw)) if raw.startswith(end, at)]  # fmt: skip
        middle = min(ends)  # after the first frame: some recordings were spliced, and end before their end
        decoder = provider.decoder(1 << 24)
        events = [*decoder.push(raw[:middle] + damage), *decoder.push(raw[middle:]), *decoder.finish()]
        assert (events, decoder.skipped) == (events_of(row), 1), row
        seen[row.language] += 1
    assert len(seen) == 5, seen
