"""pydantic-ai: `chat`, `responses` or `messages`."""

import asyncio
import sys
from typing import Literal

from features import ANSWER, BASE, KEY, SUNNY, run, same, within
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput
from pydantic_ai.profiles import ModelProfile


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    unit: Literal["celsius", "fahrenheit"]


def model(name):
    if sys.argv[1] == "messages":
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        # It goes by the model's name what a model can do, and knows none of ours.
        able = ModelProfile(supports_json_schema_output=True)
        return AnthropicModel(name, provider=AnthropicProvider(base_url=BASE, api_key=KEY), profile=able)
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    kind = OpenAIChatModel if sys.argv[1] == "chat" else OpenAIResponsesModel
    return kind(name, provider=OpenAIProvider(base_url=f"{BASE}/v1", api_key=KEY))


def answer():
    return same(Agent(model("mock-text")).run_sync("hello").output, ANSWER)


def stream():
    async def read():
        async with Agent(model("mock-text")).run_stream("hello") as result:
            return [text async for text in result.stream_text(delta=True)]

    return same("".join(asyncio.run(read())), ANSWER)


def tools():
    agent, called = Agent(model("mock-1")), []

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return SUNNY

    said = agent.run_sync("hello").output
    same(called, ["mock"])
    return within(SUNNY, said)


def parallel():
    agent = Agent(model("mock-1"))

    @agent.tool_plain
    def rome(day: int) -> str:
        """The weather of Rome."""
        return f"{SUNNY} in rome"

    @agent.tool_plain
    def oslo(day: int) -> str:
        """The weather of Oslo."""
        return f"{SUNNY} in oslo"

    return within("sunny in rome sunny in oslo", agent.run_sync("mock:parallel").output)


def structured(form):
    return lambda: same(
        Agent(model("mock-1"), output_type=form).run_sync("hello").output, Weather(city="mock", unit="celsius")
    )


def structured_after_tool():
    agent, called = Agent(model("mock-1"), output_type=Weather), []

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return SUNNY

    found = agent.run_sync("hello").output
    same(called, ["mock"])
    return same(found, Weather(city="mock", unit="celsius"))


more = {} if sys.argv[1] == "messages" else {"structured_by_prompt": structured(PromptedOutput(Weather))}
run(answer=answer, stream=stream, tools=tools, parallel=parallel, structured=structured(NativeOutput(Weather)),
    structured_by_tool=structured(Weather), structured_after_tool=structured_after_tool, **more)  # fmt: skip
