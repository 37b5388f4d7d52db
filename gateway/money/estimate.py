"""Hold: what a call may cost at most, known before it is made, and what one comes to whose usage nobody told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.estimate import BYTES_PER_TOKEN, estimate_prompt
from gateway.inference import InferenceRequest, Media, ToolResult
from gateway.money.pricing import Price, Tariff

IMAGE_TOKENS = 40_000  # no vendor counts more for one picture, whatever its size; its bytes say nothing
FILE_TOKENS = 10_000  # what a document or a sound may cost beside its bytes: pages are also read as pictures
UNSEEN_TOKENS = 200_000  # of something that is only named: a URL, a file's id, an earlier conversation
ASSUMED_OUTPUT = 32_768  # of a model whose own bound nobody knows, where the caller sets none
LIKELY_BYTES = 2  # of JSON for a token; English has four, Chinese more than two
EVENT_TOKENS = 2  # in the shortest event of a stream; providers put one there
TEXT_BYTES = 4  # of answer for a token
MAX_BEST_OF = 128  # no provider makes more answers than that to one prompt
_STORED = ("previous_response_id", "conversation")  # members that bring a conversation in which is not in the body


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held for one call, in micro-USD: no answer within its bounds costs more.

    `input_micro_usd` is what the prompt is likely to cost; `output_tokens` bounds the completion.
    """

    micro_usd: int
    input_micro_usd: int
    output_tokens: int

    def cost_of_cut(self, tokens: int) -> int:
        """What a call is charged whose provider told nothing, and of whose answer at most so many tokens left."""
        if self.output_tokens <= 0:
            return self.input_micro_usd
        rest = self.micro_usd - self.input_micro_usd
        return self.input_micro_usd - (-rest * max(0, min(tokens, self.output_tokens)) // self.output_tokens)


def tokens_left(size: int, events: int, shortest: int) -> int:
    """How many tokens an answer of so many bytes may hold that has left, of a stream in so many events.

    Of a stream's event most is framing, the same in each: what counts is by how much they are longer than the shortest.
    """
    return events * EVENT_TOKENS + max(0, size - events * shortest) // TEXT_BYTES


def hold_of(tariff: Tariff, request: InferenceRequest, body_size: int) -> Hold:
    """What is to be held for this request of so many bytes. A token has one byte at least."""
    beside = _beside_text(request)
    return _hold(tariff, request, max(0, body_size - beside.size), beside)


def cost_at_most(tariff: Tariff, request: InferenceRequest) -> int:
    """The most that this request can cost, in micro-USD, before anybody has written it down."""
    return _hold(tariff, request, estimate_prompt(request) * BYTES_PER_TOKEN, _beside_text(request)).micro_usd


@dataclass(frozen=True, slots=True)
class _Beside:
    """Bytes of a body that are no text, and the tokens that stand for them; whether there is sound."""

    size: int
    tokens: int
    audio: bool


def _hold(tariff: Tariff, request: InferenceRequest, text: int, beside: _Beside) -> Hold:
    price, audio = tariff.price, beside.audio
    prompt = _bounded(text + beside.tokens, price.context)
    likely = _bounded(text // LIKELY_BYTES + beside.tokens, price.context)
    most = _bounded(request.max_tokens or price.max_output or ASSUMED_OUTPUT, price.max_output)
    output = most * _answers(request)
    return Hold(
        max(_worth(tariff, rates_at, prompt, output, audio) for rates_at in _steps(price, prompt)),
        _worth(tariff, likely, likely, 0, audio),
        output,
    )


def _answers(request: InferenceRequest) -> int:
    """How many are made and billed: of text completions `best_of` for each prompt, though fewer are shown."""
    best = request.extra.get("best_of")
    made = min(best, MAX_BEST_OF) * len(request.messages) if type(best) is int and best > 0 else 1
    return max(1, request.choices, made)


def _worth(tariff: Tariff, step: int, prompt: int, output: int, audio: bool) -> int:
    into, out = tariff.price.rates_for(step).dearest(audio=audio)
    return tariff.total(prompt * into + output * out)


def _steps(price: Price, prompt: int) -> Iterator[int]:
    """A length of prompt for each of the rates that may apply."""
    yield 0
    yield from (tokens + 1 for tokens, _ in price.above if tokens < prompt)


def _bounded(tokens: int, most: int | None) -> int:
    return tokens if most is None else min(tokens, most)


def _beside_text(request: InferenceRequest) -> _Beside:
    size = 0
    tokens = UNSEEN_TOKENS if any(name in request.extra for name in _STORED) else 0
    audio = "audio" in request.extra
    for media in _media(request):
        audio = audio or media.kind == "audio"
        size += len(media.data) if media.kind == "image" else 0
        tokens += _tokens_of(media)
    return _Beside(size, tokens, audio)


def _tokens_of(media: Media) -> int:
    if media.kind == "image":
        return IMAGE_TOKENS
    return FILE_TOKENS if media.data else UNSEEN_TOKENS


def _media(request: InferenceRequest) -> Iterator[Media]:
    for message in request.messages:
        for block in message.content:
            if isinstance(block, Media):
                yield block
            elif isinstance(block, ToolResult):
                yield from (each for each in block.content if isinstance(each, Media))
