"""The mock's two transcripts: which one is played, and that their pieces join to what is said."""

from __future__ import annotations

from gateway.transcripts import ECHO, ECHO_CALL, choose_transcript, echo_arguments, fragments, tokens


def test_echo_is_called_once_and_its_result_becomes_prose() -> None:
    asked = choose_transcript("hi", ["weather", ECHO], None)
    assert asked is ECHO_CALL
    assert ("".join(asked.text), asked.calls, asked.stop) == ("Hello world", "echo", "tool_calls")
    assert echo_arguments("hi") == {"text": "hi"}
    told = choose_transcript("hi", [ECHO], "hi back")
    assert "".join(told.text) == "This is a mock answer. The tool said: hi back"
    assert (told.calls, told.stop) == (None, "stop")


def test_without_echo_there_is_prose() -> None:
    told = choose_transcript("hello  there", ["weather"], None)
    assert "".join(told.text) == "This is a mock answer. You said: hello  there"
    assert told.calls is None


def test_pieces_join_to_the_whole() -> None:
    assert "".join(tokens("a  b\nc")) == "a  b\nc"
    assert "".join(fragments('{"text": "hello"}')) == '{"text": "hello"}'
    assert fragments("") == []
