"""The official openai package for Python: `chat` or `responses`."""

import sys
from typing import Literal

from features import ANSWER, BASE, KEY, SUNNY, run, same, within
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY)
HELLO = [{"role": "user", "content": "hello"}]


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    unit: Literal["celsius", "fahrenheit"]


def chat_answer():
    answer = client.chat.completions.create(model="mock-text", messages=HELLO)
    same(answer.choices[0].finish_reason, "stop")
    same(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
    return same(answer.choices[0].message.content, ANSWER)


def chat_stream():
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model="mock-text", messages=HELLO, **options))
    same(chunks[-1].usage.prompt_tokens, 1)
    return same("".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices), ANSWER)


def chat_tools():
    tools = [pydantic_function_tool(Weather)]
    with client.chat.completions.stream(model="mock-1", messages=HELLO, tools=tools) as events:
        message = events.get_final_completion().choices[0].message
    call = message.tool_calls[0]
    same(call.function.parsed_arguments, Weather(city="mock", unit="celsius"))
    told = [*HELLO, message, {"role": "tool", "tool_call_id": call.id, "content": SUNNY}]
    after = client.chat.completions.create(model="mock-1", messages=told, tools=tools)
    return within(SUNNY, after.choices[0].message.content)


def chat_structured():
    answer = client.chat.completions.parse(model="mock-1", messages=HELLO, response_format=Weather)
    return same(answer.choices[0].message.parsed, Weather(city="mock", unit="celsius"))


def embeddings():
    coded = client.embeddings.create(model="mock-1", input=["a", "b"], dimensions=8).data  # asks for base64 itself
    plain = client.embeddings.create(model="mock-1", input=["a", "b"], dimensions=8, encoding_format="float").data
    same([round(one, 5) for one in coded[1].embedding], [round(one, 5) for one in plain[1].embedding])
    return f"{len(coded)} vectors of {len(coded[0].embedding)}"


def completions():
    return same(client.completions.create(model="mock-text", prompt="hello").choices[0].text, ANSWER)


def responses_answer():
    return same(client.responses.create(model="mock-text", input="hello").output_text, ANSWER)


def responses_stream():
    events = list(client.responses.create(model="mock-text", input="hello", stream=True))
    same(events[-1].type, "response.completed")
    return same("".join(event.delta for event in events if event.type == "response.output_text.delta"), ANSWER)


def responses_tools():
    tools = [{"type": "function", "name": "weather", "parameters": Weather.model_json_schema()}]
    with client.responses.stream(model="mock-1", input="hello", tools=tools) as events:
        call = events.get_final_response().output[0]
    same(Weather.model_validate_json(call.arguments).city, "mock")
    told = [*HELLO, call, {"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}]
    return within(SUNNY, client.responses.create(model="mock-1", input=told, tools=tools).output_text)


def responses_structured():
    answer = client.responses.parse(model="mock-1", input="hello", text_format=Weather)
    return same(answer.output_parsed, Weather(city="mock", unit="celsius"))


if sys.argv[1] == "chat":
    run(answer=chat_answer, stream=chat_stream, tools=chat_tools, structured=chat_structured, embeddings=embeddings,
        completions=completions)  # fmt: skip
else:
    run(answer=responses_answer, stream=responses_stream, tools=responses_tools, structured=responses_structured)
