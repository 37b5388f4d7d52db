"""Frames between keeper and worker: whole however they arrive, bounded, and strict about what is in them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.draft import Returned
from gateway.errors import GatewayError, NoRoute
from gateway.wire import MAX_FRAME, Frames, decode_error, decode_value, encode_error, encode_frame, encode_value
from tee.errors import Malformed

MESSAGES = st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=40), max_size=4)
RETURNED = Returned(200, "application/json", 3, "0" * 64, True)


@given(st.lists(MESSAGES, max_size=6), st.integers(1, 64))
def test_messages_survive_every_cut(messages: list[dict[str, Any]], step: int) -> None:
    raw, frames, got = b"".join(map(encode_frame, messages)), Frames(), []
    for at in range(0, len(raw), step):
        got += frames.push(raw[at : at + step])
    assert got == messages


@given(st.binary(max_size=64))
def test_whatever_comes_is_a_message_or_malformed(raw: bytes) -> None:
    with suppress(Malformed):
        assert all(isinstance(message, dict) for message in Frames().push(raw))


def test_a_frame_beyond_the_bound_is_refused_before_it_has_come() -> None:
    with pytest.raises(Malformed):
        Frames().push((MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(Malformed):
        encode_frame({"do": "x" * MAX_FRAME})


@pytest.mark.parametrize("fault", [{"size": "3"}, {"size": None}, {"extra": 1}, {"complete": 1.5}])
def test_a_value_has_exactly_its_members_of_their_types(fault: dict[str, Any]) -> None:
    fields = encode_value(RETURNED)
    assert decode_value(Returned, fields) == RETURNED
    with pytest.raises(Malformed):
        decode_value(Returned, fields | fault)
    with pytest.raises(Malformed):
        decode_value(Returned, {name: value for name, value in fields.items() if name != "size"})


def test_an_error_is_answered_there_as_it_would_be_here() -> None:
    here = NoRoute("Full.", code="overloaded", retry_after=1.0)
    there = decode_error(encode_error(here))
    assert isinstance(there, GatewayError)
    assert encode_error(there) == encode_error(here)
