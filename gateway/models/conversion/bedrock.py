"""Bedrock Converse, piece by piece: views of its dialect."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.dialects import bedrock_converse
from gateway.dialects.bedrock_fields import read_finish
from gateway.dialects.bedrock_stream import Decoder
from gateway.dialects.eventstream import EventMessage
from gateway.inference import Failure
from gateway.jsonbody import encode_json, parse_json_object
from gateway.models.contract.conversation import Conversation
from gateway.models.contract.emission import Emission
from gateway.models.contract.model_card import ModelCard, ProviderId
from gateway.models.contract.options import StreamOptions
from gateway.models.contract.reply import StopReason
from gateway.models.conversion.emissions import STOPS, Projection
from gateway.models.conversion.request import card_quirks, to_request


def build_converse_body(card: ModelCard, conversation: Conversation, options: StreamOptions) -> dict[str, object]:
    """The whole body of /model/ID/converse-stream; the model stands in the path."""
    side = bedrock_converse.PROVIDER
    return parse_json_object(side.encode_request(to_request(card, conversation, options, side.name), card_quirks(card)))


def map_bedrock_stop_reason(word: str) -> StopReason:
    """Why an answer ended, in Bedrock's word."""
    finish = read_finish(word, 0)
    return StopReason.ERROR if isinstance(finish, Failure) else STOPS[finish.reason]


@dataclass(frozen=True, slots=True)
class ConverseStream:
    """An answer of ConverseStream on its way: what its earlier events said."""

    model: str
    decoder: Decoder = field(default_factory=Decoder)
    projection: Projection = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "projection", Projection(self.model, ProviderId.AMAZON))


def map_converse_stream_event(stream: ConverseStream, kind: str, payload: dict[str, object]) -> list[Emission]:
    """The emissions of one event, whose `kind` is Bedrock's `:event-type`, after those that came before."""
    message = EventMessage({":message-type": "event", ":event-type": kind}, encode_json(payload))
    return stream.projection.push(stream.decoder.read_message(message))
