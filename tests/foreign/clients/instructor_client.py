"""instructor: `chat` or `messages`."""

import sys
from collections.abc import Iterable
from typing import Literal

import instructor
from features import BASE, KEY, run, same
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "hello"}]


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    unit: Literal["celsius", "fahrenheit"]


def client(mode):
    if sys.argv[1] == "messages":
        from anthropic import Anthropic

        return instructor.from_anthropic(Anthropic(base_url=BASE, api_key=KEY), mode=mode)
    from openai import OpenAI

    return instructor.from_openai(OpenAI(base_url=f"{BASE}/v1", api_key=KEY), mode=mode)


FIELDS = {"model": "mock-1", "messages": HELLO} | ({"max_tokens": 500} if sys.argv[1] == "messages" else {})
EXPECTED = {"city": "mock", "unit": "celsius"}


def structured(mode):
    return lambda: same(client(mode).chat.completions.create(response_model=Weather, **FIELDS).model_dump(), EXPECTED)


def stream():
    parts = client(instructor.Mode.TOOLS).chat.completions.create_partial(response_model=Weather, **FIELDS)
    return same(list(parts)[-1].model_dump(), EXPECTED)


def several():
    found = client(instructor.Mode.TOOLS).chat.completions.create(response_model=Iterable[Weather], **FIELDS)
    return same([one.model_dump() for one in found], [EXPECTED])


if sys.argv[1] == "messages":
    run(tools=structured(instructor.Mode.TOOLS), structured=structured(instructor.Mode.JSON_SCHEMA), stream=stream)
else:
    run(tools=structured(instructor.Mode.TOOLS), structured=structured(instructor.Mode.JSON_SCHEMA),
        structured_by_prompt=structured(instructor.Mode.JSON), stream=stream, several=several)  # fmt: skip
