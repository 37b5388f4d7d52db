"""The official anthropic package for Python."""

from typing import Literal

from anthropic import Anthropic, beta_tool
from features import ANSWER, BASE, KEY, SUNNY, run, same, within
from pydantic import BaseModel

client = Anthropic(base_url=BASE, api_key=KEY)
HELLO = [{"role": "user", "content": "hello"}]


class Weather(BaseModel):
    city: str
    unit: Literal["celsius", "fahrenheit"]


def answer():
    message = client.messages.create(model="mock-text", max_tokens=100, messages=HELLO)
    same(message.stop_reason, "end_turn")
    return same(message.content[0].text, ANSWER)


def stream():
    with client.messages.stream(model="mock-text", max_tokens=100, messages=HELLO) as events:
        text = "".join(events.text_stream)
        same(events.get_final_message().usage.input_tokens, 1)
    return same(text, ANSWER)


def tools():
    called = []

    @beta_tool
    def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        called.append(city)
        return SUNNY

    runner = client.beta.messages.tool_runner(model="mock-1", max_tokens=100, messages=HELLO, tools=[weather])
    said = runner.until_done().content[0].text
    same(called, ["mock"])
    return within(SUNNY, said)


def structured():
    message = client.messages.parse(model="mock-1", max_tokens=100, messages=HELLO, output_format=Weather)
    return same(message.parsed_output, Weather(city="mock", unit="celsius"))


def count_tokens():
    return client.messages.count_tokens(model="mock-1", messages=HELLO).input_tokens


def models():
    return within("mock-1", " ".join(model.id for model in client.models.list()))


run(answer=answer, stream=stream, tools=tools, structured=structured, count_tokens=count_tokens, models=models)
