"""Frames between keeper and worker: whole however they arrive, bounded, and strict about what is in them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.draft import Returned
from gateway.errors import GatewayError, NoRoute
from gateway.tenancy.tenant import ApiKey, Tenant
from gateway.wire import (
    MAX_FRAME,
    Frames,
    decode_error,
    decode_key,
    decode_value,
    encode_error,
    encode_frame,
    encode_key,
    encode_value,
)
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


def test_a_key_comes_with_its_tenant_and_nothing_is_believed_of_another_kind() -> None:
    tenant = Tenant("acme", "ACME", 5, None, 7, ("default", "clinical-strict"))
    key = ApiKey("key-1", tenant, "ci", "sk-router-AbCd…", frozenset({"read"}), "clinical-strict", 1, 2, 3, True)
    (frame,) = Frames().push(encode_frame({"key": encode_key(key)}))
    assert decode_key(frame["key"]) == key
    for fault in ({"tenant": "acme"}, {"scopes": None}, {"tenant": frame["key"]["tenant"] | {"usd_cap": "5"}}):
        with pytest.raises(Malformed):
            decode_key(frame["key"] | fault)


@dataclass(frozen=True, slots=True)
class Nested:
    facts: dict[str, Any] | None


def test_of_a_nested_member_the_outside_is_judged() -> None:
    assert decode_value(Nested, {"facts": {"a": 1}}) == Nested({"a": 1})
    assert decode_value(Nested, {"facts": None}) == Nested(None)
    with pytest.raises(Malformed):
        decode_value(Nested, {"facts": [1]})


def test_an_error_is_answered_there_as_it_would_be_here() -> None:
    here = NoRoute("Full.", code="overloaded", retry_after=1.0)
    there = decode_error(encode_error(here))
    assert isinstance(there, GatewayError)
    assert encode_error(there) == encode_error(here)
