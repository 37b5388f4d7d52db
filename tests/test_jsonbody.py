"""Bodies from outside: one reading only, bounded cost, and errors that do not repeat the prompt."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, InvalidRequest
from gateway.jsonbody import MAX_DEPTH, encode_json, parse_json_object, read_json_object

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "syntax error at character 0"),
        (b"[1]", "a list"),
        (b"null", "null"),
        (b'"x"', "a string"),
        (b"{}{}", "syntax error"),
        (b'{"a":1', "syntax error"),
        (b'\xef\xbb\xbf{"a":1}', "syntax error"),
        (b'{"a":"\xff"}', "not UTF-8 at offset 6"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":NaN}', "NaN or Infinity"),
        (b'{"a":-Infinity}', "NaN or Infinity"),
        (b'{"a":1e999}', "NaN or Infinity"),
        (b'{"a":' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a":"\\ud800"}', "unpaired surrogate"),
        (b'{"\\uDC00x":1}', "unpaired surrogate"),
    ],
)
def test_refuses(body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        parse_json_object(body)
    assert (caught.value.status, caught.value.error_type) == (400, "invalid_request_error")


def test_duplicate_key_is_named_only_if_it_is_a_word_of_the_protocol() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_json_object(b'{"model":"a","mod\\u0065l":"b"}')
    assert caught.value.param == "model"
    with pytest.raises(InvalidRequest) as caught:
        parse_json_object(b'{"x":{"my secret":1,"my secret":2}}')
    assert caught.value.param is None
    assert "secret" not in caught.value.message


def test_surrogate_pairs_and_large_ordinary_numbers_pass() -> None:
    assert parse_json_object(b'{"a":"\\ud83d\\ude00","b":123456789012345678901234567890}') == {
        "a": "\U0001f600",
        "b": 123456789012345678901234567890,
    }


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_bounded_exactly(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"

    assert parse_json_object(nested(MAX_DEPTH))
    with pytest.raises(InvalidRequest, match="deeper"):
        parse_json_object(nested(MAX_DEPTH + 1))


def test_brackets_inside_strings_are_not_nesting() -> None:
    text = '[{"\\' * 500
    assert parse_json_object(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 4_000_000,
        b'{"a":"' + b'\\"' * 2_000_000,
        b'{"a":' * 800_000,
        b'{"a":[' + b"[]," * 1_300_000,
        b"]" * 1000 + b"[" * 4_000_000,
    ],
    ids=["open", "unterminated string", "objects", "siblings", "excess closing"],
)
def test_hostile_bodies_cost_linear_time(body: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(InvalidRequest):
        parse_json_object(body)
    assert time.perf_counter() - started < 5
    assert read_json_object(body) is None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    read_json_object(body)
    try:
        assert isinstance(parse_json_object(body), dict)
    except GatewayError as error:
        assert error.status == 400


@given(st.dictionaries(st.text(), JSON))
def test_what_json_writes_is_read_back(value: dict[str, object]) -> None:
    assert parse_json_object(encode_json(value)) == value
    assert read_json_object(encode_json(value).decode()) == value


def test_half_a_character_from_a_provider_survives() -> None:
    half = read_json_object('{"content":"\\ud83d"}')
    assert half is not None
    assert encode_json(half) == b'{"content":"\\ud83d"}'
