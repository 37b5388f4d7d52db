"""OpenAI Responses: the dialect's two sides."""

from __future__ import annotations

from gateway.dialects.dialect import ProviderSide, Surface
from gateway.dialects.openai_objects import decode_error, encode_error
from gateway.dialects.openai_responses_decoder import Decoder, decode_answer
from gateway.dialects.openai_responses_encoder import Encoder, encode_answer
from gateway.dialects.openai_responses_fields import ID_PREFIX, NAME
from gateway.dialects.openai_responses_request import decode_request, encode_request
from gateway.dialects.openai_responses_verbatim import VERBATIM

SURFACE = Surface(NAME, ID_PREFIX, decode_request, Encoder, encode_answer, encode_error, VERBATIM)
PROVIDER = ProviderSide(
    NAME,
    "text/event-stream",
    lambda _model, _stream: "/responses",
    encode_request,
    Decoder,
    decode_answer,
    decode_error,
)
