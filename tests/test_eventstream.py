"""Framings other than server-sent events: Amazon's event stream and newline-delimited JSON."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.eventstream import MAX_HEADERS, EventMessage, MessageSplitter
from gateway.dialects.ndjson import LineSplitter
from gateway.errors import UpstreamFailed
from tests.conftest import find_vectors
from tests.worlds.eventstream import event_message, raw_message, text_header

VECTORS = find_vectors() / "dialects" / "bedrock-eventstream"


def split(stream: bytes, size: int = 0) -> tuple[list[EventMessage], bool]:
    splitter, step = MessageSplitter(), size or len(stream) or 1
    messages = [each for at in range(0, len(stream), step) for each in splitter.push(stream[at : at + step])]
    return messages, splitter.finish()


@pytest.mark.parametrize("path", sorted((VECTORS / "encoded" / "positive").iterdir()), ids=lambda path: path.name)
def test_amazons_own_messages_are_read(path: Any) -> None:
    wanted = json.loads((VECTORS / "decoded" / "positive" / path.name).read_bytes())
    for size in (0, 1, 7):
        (message,), whole = split(path.read_bytes(), size)
        assert whole
        assert message.payload == base64.b64decode(wanted["payload"])
        values = {
            row["name"]: base64.b64decode(row["value"]) if isinstance(row["value"], str) else row["value"]
            for row in wanted["headers"]
        }
        found = {name: v.encode() if isinstance(v, str) else v for name, v in message.headers.items()}
        assert found == values


@pytest.mark.parametrize("path", sorted((VECTORS / "encoded" / "negative").iterdir()), ids=lambda path: path.name)
def test_amazons_damaged_messages_are_refused(path: Any) -> None:
    for size in (0, 1, 7):
        with pytest.raises(UpstreamFailed, match="checksum"):
            split(path.read_bytes(), size)


def test_no_flipped_bit_passes() -> None:
    stream = event_message("messageStop", {"stopReason": "end_turn"})
    for at in range(len(stream) * 8):
        damaged = bytearray(stream)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(UpstreamFailed):
            split(bytes(damaged))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (raw_message(b"", b"", size=1 << 30), "a message of 1073741824 bytes"),
        (raw_message(b"", b"", headers_size=MAX_HEADERS + 1, size=1 << 20), "headers of 131073 bytes"),
        (raw_message(b"", b"", headers_size=1), "headers of 1 bytes"),
        (raw_message(b"", b"", size=15), "headers of 0 bytes in a message of 15"),
        (raw_message(b"\x09name", b""), "longer than all headers"),
        (raw_message(b"\x01n\x07\x00\x05abcd", b""), "longer than all headers"),
        (raw_message(b"\x01n", b""), "longer than all headers"),
        (raw_message(b"\x01n\x0a", b""), "type 10"),
        (raw_message(b"\x01n\x07\x00\x01\xff", b""), "not UTF-8"),
    ],
)
def test_lengths_that_cannot_be_are_refused_for_good(raw: bytes, words: str) -> None:
    splitter = MessageSplitter()
    with pytest.raises(UpstreamFailed, match=words):
        splitter.push(raw)
    with pytest.raises(UpstreamFailed, match=words):
        splitter.push(event_message("messageStop", {}))
    with pytest.raises(UpstreamFailed, match=words):
        splitter.finish()


def test_what_came_whole_before_the_damage_is_given() -> None:
    good = event_message("messageStop", {"stopReason": "end_turn"})
    splitter = MessageSplitter()
    assert [message.text(":event-type") for message in splitter.push(good + b"\0" * 16)] == ["messageStop"]
    for again in (lambda: splitter.push(good), splitter.finish):
        with pytest.raises(UpstreamFailed, match="checksum"):
            again()


def test_a_length_is_judged_before_its_message_is_waited_for() -> None:
    with pytest.raises(UpstreamFailed, match="at most 1000"):
        MessageSplitter(1000).push(raw_message(b"", bytes(2000))[:12])


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=40), st.binary(max_size=99)), max_size=5), st.data())
def test_chunking_does_not_matter(rows: list[tuple[str, str, bytes]], data: Any) -> None:
    stream = b"".join(raw_message(text_header(name, value), payload) for name, value, payload in rows)
    size = data.draw(st.integers(1, max(1, len(stream))))
    messages, whole = split(stream, size)
    assert whole
    assert messages == [EventMessage({name: value}, payload) for name, value, payload in rows]
    cut = data.draw(st.integers(0, len(stream)))
    kept, whole = split(stream[:cut], size)
    assert kept == messages[: len(kept)]
    assert whole == (len(stream[:cut]) == sum(len(raw_message(text_header(n, v), p)) for n, v, p in rows[: len(kept)]))


@given(st.binary(max_size=300))
def test_any_bytes_give_messages_or_a_refusal(raw: bytes) -> None:
    checked = raw[:8] + zlib.crc32(raw[:8]).to_bytes(4, "big") + raw[8:]
    for stream in (raw, checked, raw_message(raw, b"")):
        try:
            split(stream)
        except UpstreamFailed as error:
            assert error.message.startswith("stream: found")


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_lines_do_not_depend_on_chunking(lines: list[bytes], size: int) -> None:
    stream = b"\n".join(lines)
    splitter = LineSplitter(1000)
    found = [line for at in range(0, len(stream), size) for line in splitter.push(stream[at : at + size])]
    last = splitter.finish()
    assert [*found, *([last] if last else [])] == [line.strip() for line in stream.split(b"\n") if line.strip()]


@pytest.mark.parametrize("stream", [b"x" * 11, b"x" * 11 + b"\n", b"ok\n" + b"x" * 11 + b"\nok\n"])
def test_a_line_beyond_the_bound_is_refused_for_good(stream: bytes) -> None:
    splitter = LineSplitter(10)
    with pytest.raises(UpstreamFailed, match="longer than 10 bytes"):
        splitter.push(stream)
    with pytest.raises(UpstreamFailed):
        splitter.push(b"{}\n")
    assert LineSplitter(10).push(b"x" * 10 + b"\n") == [b"x" * 10]
