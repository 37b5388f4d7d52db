"""The mock: two transcripts, no network, no credential."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from gateway.inference import Finish, StreamEvent, TextDelta, ToolCallDelta, Usage
from gateway.jsonbody import encode_json
from gateway.models.contract.conversation import Conversation, TextBlock, ToolResultBlock
from gateway.models.contract.emission import Emission, ErrorEmission
from gateway.models.contract.errors import aborted
from gateway.models.contract.model_card import ApiKind, ModelCard
from gateway.models.contract.options import StreamOptions
from gateway.models.contract.reply import Reply
from gateway.models.conversion.emissions import Projection
from gateway.models.streaming.channel import Channel, channel_of, collect_reply
from gateway.transcripts import choose_transcript, echo_arguments, fragments, tokens

_CALL_ID = "mock_call_0"


@dataclass(frozen=True, slots=True)
class MockConnector:
    """Answers by itself, the same to the same question."""

    id: str = "mock"
    api: ApiKind = ApiKind.MOCK

    def stream(self, model: ModelCard, conversation: Conversation, options: StreamOptions) -> Channel:
        """The transcript in pieces."""

        async def play() -> AsyncGenerator[Emission, None]:
            projection = Projection(model.id, model.provider)
            for event in _events(conversation):
                if options.cancel is not None and options.cancel.cancelled:
                    yield ErrorEmission(aborted("cancelled while the mock was answering"))
                    return
                for emission in projection.push((event,)):
                    yield emission
            yield projection.end()

        return channel_of(play)

    async def complete(self, model: ModelCard, conversation: Conversation, options: StreamOptions) -> Reply:
        """The transcript whole. Raises: GatewayError when cancelled."""
        return await collect_reply(self.stream(model, conversation, options))


def _events(conversation: Conversation) -> list[StreamEvent]:
    blocks = [block for turn in conversation.turns for block in turn.blocks]
    results = [str(block.output) for block in blocks if isinstance(block, ToolResultBlock)]
    heard = [
        (turn.role, block.text) for turn in conversation.turns for block in turn.blocks if isinstance(block, TextBlock)
    ]
    said = next((text for role, text in reversed(heard) if role == "user"), "")
    offered = [tool.name for tool in conversation.tools or ()]
    transcript = choose_transcript(said, offered, results[-1] if results else None)
    events: list[StreamEvent] = [TextDelta(piece) for piece in transcript.text]
    if transcript.calls is not None:
        arguments = fragments(encode_json(echo_arguments(said)).decode())
        events.append(ToolCallDelta(0, _CALL_ID, transcript.calls, ""))
        events += [ToolCallDelta(0, None, None, piece) for piece in arguments]
    prompt = sum(len(tokens(text)) for text in [conversation.system or "", *(text for _, text in heard), *results])
    usage = Usage(prompt, len(events))
    return [*events, Finish(transcript.stop), usage]
