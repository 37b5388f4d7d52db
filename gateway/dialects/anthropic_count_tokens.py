"""Anthropic's question for the number of tokens: passed on verbatim, or answered here by an estimate that says so."""

from __future__ import annotations

from dataclasses import replace

from gateway.dialects.anthropic_messages import PROVIDER as MESSAGES
from gateway.dialects.anthropic_messages import SURFACE as MESSAGES_SURFACE
from gateway.dialects.anthropic_messages_fields import read_failure
from gateway.dialects.anthropic_messages_request import decode_count
from gateway.dialects.dialect import Seen
from gateway.dialects.fields import count
from gateway.estimate import estimate_prompt
from gateway.inference import InferenceRequest
from gateway.jsonbody import encode_json

NAME = "anthropic_count_tokens"


def estimate_tokens(request: InferenceRequest) -> bytes:
    """An answer in Anthropic's shape, marked `estimated`: counted in bytes, for no tokenizer of the model is here."""
    return encode_json({"input_tokens": estimate_prompt(request), "estimated": True})


def answer_facts(fields: dict[str, object]) -> Seen:
    """What an answer says of itself: nothing was used."""
    return Seen(None, "", read_failure(fields) is None and count(fields.get("input_tokens")) is not None)


_VERBATIM = MESSAGES_SURFACE.verbatim
assert _VERBATIM is not None
SURFACE = replace(
    MESSAGES_SURFACE, name=NAME, decode_request=decode_count, verbatim=replace(_VERBATIM, facts=answer_facts)
)
PROVIDER = replace(MESSAGES, name=NAME, path=lambda _model, _stream: "/v1/messages/count_tokens")
