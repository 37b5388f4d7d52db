"""Frames: cut where WHATWG cuts, verbatim, whatever the chunking; bounded memory."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.sse import FrameSplitter, ServerEvent, is_whole_frame, parse_frame
from gateway.errors import UpstreamFailed

STREAMS = st.lists(
    st.sampled_from(
        [b"data: x", b"data:y", b": c", b"event: e", b"\r", b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\x0b", b"z"]
    ),
    max_size=30,
).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(marks)]


def split(chunks: list[bytes], max_frame: int = 1 << 20) -> tuple[list[bytes], bytes]:
    splitter = FrameSplitter(max_frame)
    frames = [frame for chunk in chunks for frame in splitter.push(chunk)]
    return frames, splitter.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_frames_keep_their_line_ends(end: bytes) -> None:
    first, second = b"event: a" + end + b"data: 1" + end + end, b": note" + end + end
    stream = first + second + b"data: open"
    for chunks in ([stream], [bytes([byte]) for byte in stream]):
        assert split(chunks) == ([first, second], b"data: open")


def test_blank_lines_between_frames_are_frames_of_their_own() -> None:
    assert split([b"\n\ndata: 1\n\n\r\n"]) == ([b"\n", b"\n", b"data: 1\n\n", b"\r\n"], b"")


def test_crlf_is_one_line_end_even_when_torn() -> None:
    assert split([b"data: 1\r", b"\ndata: 2\r\n\r", b"\n"]) == ([b"data: 1\r\ndata: 2\r\n\r\n"], b"")


def test_a_final_carriage_return_waits_and_is_given_back() -> None:
    frames, leftover = split([b"data: 1\r\r"])
    assert (frames, leftover) == ([], b"data: 1\r\r")
    assert is_whole_frame(leftover)
    assert not is_whole_frame(b"data: 1\r")
    assert not is_whole_frame(b"data: 1\r\n")


@given(STREAMS, st.lists(st.integers(0, 10_000)))
def test_any_chunking_gives_the_same_frames(stream: bytes, places: list[int]) -> None:
    frames, leftover = split([stream])
    assert split(cut(stream, places)) == (frames, leftover)
    assert b"".join(frames) + leftover == stream


@given(STREAMS, st.lists(st.integers(0, 10_000)))
def test_frames_that_pass_in_one_piece_are_those_that_pass_one_by_one(stream: bytes, places: list[int]) -> None:
    plain, framed = FrameSplitter(), FrameSplitter()
    for chunk in cut(stream, places):
        whole, rest = plain.take_plain(chunk, lambda data: data.rfind(b"\n\n") + 2)
        assert whole + b"".join(plain.push(rest)) == b"".join(framed.push(chunk))
    assert plain.finish() == framed.finish()


def test_a_piece_beyond_the_bound_is_looked_at() -> None:
    splitter = FrameSplitter(10)
    assert splitter.take_plain(b"data: 12345\n\n", len) == (b"", b"data: 12345\n\n")
    assert splitter.push(b"data: 12345\n\n") == []
    with pytest.raises(UpstreamFailed):
        splitter.finish()


@given(STREAMS)
def test_frames_are_where_lines_are_blank(stream: bytes) -> None:
    frames, leftover = split([stream])
    for frame in frames:
        lines = frame.splitlines()
        assert not lines[-1]
        assert all(lines[:-1])
    assert all(leftover.splitlines()) or is_whole_frame(leftover)


@given(st.binary(max_size=100))
def test_any_bytes_parse(frame: bytes) -> None:
    assert isinstance(parse_frame(frame), ServerEvent)


def test_parse_follows_whatwg() -> None:
    assert parse_frame(b"\xef\xbb\xbfdata: a\r\ndata:b\rdata:  c\ndata\n\n") == ServerEvent("message", "a\nb\n c\n")
    assert parse_frame(b"event: x\nid: 1\nretry: 2\nDATA: no\n\n") == ServerEvent("x", "")
    assert parse_frame(b": data: comment\n\n").data == ""
    assert parse_frame("data: \u2028\x0b\x85\n\n".encode()).data == "\u2028\x0b\x85"


def test_overlong_frame_is_refused_whole_or_in_pieces() -> None:
    exact = b"data: " + b"x" * 92 + b"\n\n"
    assert split([exact, exact], 100) == ([exact, exact], b"")
    for chunks in ([b"y" + exact], [b"y" * 60, b"y" * 60]):
        splitter = FrameSplitter(100)
        assert [splitter.push(chunk) for chunk in chunks] == [[] for _ in chunks]
        for ending in (splitter.finish, lambda splitter=splitter: splitter.push(b"data: 1\n\n")):
            with pytest.raises(UpstreamFailed, match="longer than 100 bytes"):
                ending()


def test_what_came_whole_before_an_overlong_frame_is_given() -> None:
    splitter = FrameSplitter(100)
    assert splitter.push(b"data: 1\n\n" + b"y" * 101) == [b"data: 1\n\n"]
    with pytest.raises(UpstreamFailed, match="longer than 100 bytes"):
        splitter.push(b"y")


def test_endless_line_costs_linear_time() -> None:
    splitter = FrameSplitter(1 << 21)
    started = time.perf_counter()
    for _ in range(1 << 17):
        splitter.push(b"\rx\rx\rx\rx")
    splitter.push(b"x" * (1 << 21))
    with pytest.raises(UpstreamFailed):
        splitter.finish()
    assert time.perf_counter() - started < 5
