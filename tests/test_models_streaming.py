"""Channels, the fold, the framers and cancellation: the streams of `gateway.models` without a network."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.models import (
    CancellationToken,
    Channel,
    DoneEmission,
    Emission,
    ErrorEmission,
    GatewayError,
    GatewayErrorKind,
    Reply,
    ServerEvent,
    StopEmission,
    StopReason,
    TextBlock,
    TextEmission,
    ThinkingBlock,
    ThinkingEmission,
    ToolCallBlock,
    ToolCallDeltaEmission,
    ToolCallStartEmission,
    Usage,
    UsageEmission,
    channel_of,
    collect_reply,
    fold_reply,
    gateway_error,
    ndjson_lines,
    sse_events,
)
from gateway.models.streaming.utf8 import Utf8Decoder

CALL: list[Emission] = [ToolCallStartEmission("b", "two"), ToolCallDeltaEmission("b", '{"x":')]


def playing(*emissions: Emission) -> tuple[Channel, list[int]]:
    """A channel of these, and how often it was begun."""
    begun: list[int] = []

    async def play() -> AsyncGenerator[Emission, None]:
        begun.append(1)
        for emission in emissions:
            yield emission

    return channel_of(play), begun


async def bytes_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def all_of(iterable: AsyncIterator[Any]) -> list[Any]:
    async def collect() -> list[Any]:
        return [each async for each in iterable]

    return asyncio.run(collect())


def test_the_fold_orders_thinking_text_calls_and_joins_arguments() -> None:
    """R252: calls in the order in which they began, arguments in pieces, the latest usage."""
    emissions: list[Emission] = [
        TextEmission("Hel"), *CALL, ThinkingEmission("I "), ToolCallStartEmission("a", "one"), TextEmission("lo"),
        UsageEmission(Usage(1, 1)), ToolCallDeltaEmission("a", "{}"), ToolCallDeltaEmission("b", "1}"),
        ThinkingEmission("think"), UsageEmission(Usage(9, 8)),
    ]  # fmt: skip
    assert fold_reply("m", emissions) == Reply(
        "m",
        (
            ThinkingBlock("I think"),
            TextBlock("Hello"),
            ToolCallBlock("b", "two", {"x": 1}),
            ToolCallBlock("a", "one", {}),
        ),
        Usage(9, 8),
        StopReason.TOOL_CALLS,
    )


def test_the_fold_keeps_arguments_that_are_no_json_and_the_stop_that_was_said() -> None:
    """R252."""
    broken = fold_reply("m", [*CALL, StopEmission(StopReason.MAX_OUTPUT)])
    assert broken.blocks == (ToolCallBlock("b", "two", '{"x":'),)
    assert broken.stop is StopReason.MAX_OUTPUT
    assert fold_reply("m", [*CALL, StopEmission(StopReason.COMPLETE)]).stop is StopReason.COMPLETE
    assert fold_reply("m", [ToolCallStartEmission("c", "none")]).blocks == (ToolCallBlock("c", "none", {}),)


def test_an_empty_fold_is_complete_and_ends_are_passed_over() -> None:
    """R204, R252, R257."""
    ends: list[Emission] = [DoneEmission(Reply("x", (TextBlock("no"),), Usage(1, 1), StopReason.ERROR))]
    assert fold_reply("m", ends) == Reply("m", (), Usage(0, 0), StopReason.COMPLETE)


def test_a_channel_begins_anew_with_each_iteration_and_ends_at_the_first_end() -> None:
    """R190, R257, R258."""
    error = ErrorEmission(gateway_error(GatewayErrorKind.HTTP, "no"))
    channel, begun = playing(TextEmission("a"), error, TextEmission("never"))
    assert begun == []
    assert all_of(aiter(channel)) == all_of(aiter(channel)) == [TextEmission("a"), error]
    assert len(begun) == 2


def test_collecting_gives_the_end_or_the_fold() -> None:
    """R182, R258: Done as it is, Error raised, a fold where neither came."""
    reply = Reply("m", (TextBlock("whole"),), Usage(1, 1), StopReason.COMPLETE)
    assert asyncio.run(collect_reply(playing(TextEmission("a"), DoneEmission(reply))[0])) is reply
    with pytest.raises(GatewayError, match=r"^slow$") as caught:
        asyncio.run(collect_reply(playing(ErrorEmission(gateway_error(GatewayErrorKind.RATE_LIMIT, "slow")))[0]))
    assert caught.value.kind is GatewayErrorKind.RATE_LIMIT
    folded = asyncio.run(collect_reply(playing(TextEmission("a"), TextEmission("b"))[0]))
    assert (folded.model, folded.blocks) == ("unknown", (TextBlock("ab"),))


def test_an_empty_channel_is_a_transport_error() -> None:
    """R258."""
    with pytest.raises(GatewayError, match=r"^channel closed without emitting any data$") as caught:
        asyncio.run(collect_reply(playing()[0]))
    assert caught.value.kind is GatewayErrorKind.TRANSPORT


def test_who_leaves_early_ends_the_work_below() -> None:
    """R257: closing an iteration closes what it stands on."""
    ended: list[str] = []

    async def play() -> AsyncGenerator[Emission, None]:
        try:
            while True:
                yield TextEmission("x")
        finally:
            ended.append("ended")

    async def leave() -> None:
        arriving = aiter(channel_of(play))
        await anext(arriving)
        await arriving.aclose()
        assert ended == ["ended"]

    asyncio.run(leave())


def test_server_sent_events_in_any_pieces() -> None:
    """R255: names, several data lines, comments passed over, an unfinished event dropped (WHATWG HTML §9.2.6)."""
    stream = "event: a\r\ndata: 1\r\ndata: 2\r\n\r\n: note\n\ndata: ü\n\ndata: unfinished".encode()
    wanted = [ServerEvent("a", "1\n2"), ServerEvent("message", "ü")]
    assert all_of(sse_events(bytes_of(stream))) == wanted
    assert all_of(sse_events(bytes_of(*(bytes([byte]) for byte in stream)))) == wanted
    assert all_of(sse_events(bytes_of(b"data: last\r\r"))) == [ServerEvent("message", "last")]


def test_lines_of_json_in_any_pieces() -> None:
    """R255: blank lines passed over, the last line with or without its end."""
    stream = '{"a":"ü"}\n\n[1]\r\n"end"'.encode()
    assert all_of(ndjson_lines(bytes_of(stream))) == [{"a": "ü"}, [1], "end"]
    assert all_of(ndjson_lines(bytes_of(*(bytes([byte]) for byte in stream)))) == [{"a": "ü"}, [1], "end"]
    with pytest.raises(GatewayError, match="no JSON") as caught:
        all_of(ndjson_lines(bytes_of(b'{"a":1}\n{broken\n')))
    assert caught.value.kind is GatewayErrorKind.PARSE


@pytest.mark.parametrize("framer", [sse_events, ndjson_lines])
def test_an_endless_line_is_refused(framer: Callable[..., AsyncIterator[object]]) -> None:
    """R255: what a provider sends has a bound."""
    with pytest.raises(GatewayError, match="longer than") as caught:
        all_of(framer(bytes_of(*[b"data: " + b"x" * (1 << 20)] * 6)))
    assert caught.value.kind is GatewayErrorKind.PARSE


def test_characters_split_between_chunks_are_whole_and_invalid_bytes_are_marked() -> None:
    """R255, R260: no spurious U+FFFD, and a true one where bytes are no UTF-8."""
    decoder = Utf8Decoder()
    raw = codecs.BOM_UTF8 + "a€😀".encode()
    assert "".join(decoder.push(bytes([byte])) for byte in raw) + decoder.finish() == "a€😀"
    assert decoder.push(b"") == ""
    cut = Utf8Decoder()
    assert cut.push(b"x\xff\xe2\x82") + cut.finish() == "x\ufffd\ufffd"
    assert all_of(sse_events(bytes_of(b"data: \xe2", b"\x82\xac \xff\n\n"))) == [ServerEvent("message", "€ \ufffd")]
    assert all_of(ndjson_lines(bytes_of(b'"\xe2\x82', b'\xac \xff"\n'))) == ["€ \ufffd"]


@settings(deadline=None)
@given(st.binary(max_size=24), st.lists(st.integers(0, 24), max_size=4))
def test_chunking_never_changes_the_text(raw: bytes, places: list[int]) -> None:
    """R260."""
    cuts = sorted({0, len(raw), *(place for place in places if place < len(raw))})
    whole, pieces = Utf8Decoder(), Utf8Decoder()
    told = "".join(pieces.push(raw[start:end]) for start, end in pairwise(cuts)) + pieces.finish()
    assert told == whole.push(raw) + whole.finish()


@pytest.mark.parametrize(("framer", "what"), [(sse_events, "event stream"), (ndjson_lines, "ndjson stream")])
def test_cancelling_says_whether_reading_had_begun(framer: Callable[..., AsyncIterator[object]], what: str) -> None:
    """R259: a token that was cancelled before, and one that is cancelled while a byte is waited for."""
    ended: list[str] = []

    async def hanging() -> AsyncIterator[bytes]:
        try:
            yield b'data: 1\n\n{"a":1}\n' if framer is sse_events else b'{"a":1}\n'
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    def caught_in(work: Callable[[], Coroutine[Any, Any, None]]) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            asyncio.run(work())
        assert caught.value.kind is GatewayErrorKind.ABORTED
        return caught.value

    async def before() -> None:
        token = CancellationToken()
        token.cancel()
        await anext(framer(hanging(), token))

    async def meanwhile() -> None:
        token = CancellationToken()
        events = framer(hanging(), token)
        await anext(events)
        asyncio.get_running_loop().call_soon(token.cancel)
        await anext(events)

    assert caught_in(before).message == f"cancelled before the {what} was read"
    assert ended == []
    assert caught_in(meanwhile).message == f"cancelled while the {what} was read"
    assert ended == ["ended"]


def test_a_token_is_cancelled_once_and_tells_everybody() -> None:
    """R259, R263: the one currency of cancellation."""
    token, told = CancellationToken(), list[str]()
    unwatch = token.watch(lambda: told.append("gone"))
    token.watch(lambda: told.append("first"))
    unwatch()
    unwatch()
    token.cancel()
    token.cancel()
    token.watch(lambda: told.append("late"))
    assert (token.cancelled, told) == (True, ["first", "late"])
