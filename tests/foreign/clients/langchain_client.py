"""LangChain: `chat` and `responses` by langchain-openai, `messages` by langchain-anthropic."""

import sys
from typing import Literal

from features import ANSWER, BASE, KEY, SUNNY, run, same, within
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    unit: Literal["celsius", "fahrenheit"]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{SUNNY} in {city}"


def model(name):
    if sys.argv[1] == "messages":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model=name, base_url=BASE, api_key=KEY, max_tokens=200)
    from langchain_openai import ChatOpenAI

    # stream_usage: at any other address than OpenAI's it does not ask for usage by itself.
    fields = {"base_url": f"{BASE}/v1", "api_key": KEY, "stream_usage": True}
    return ChatOpenAI(model=name, use_responses_api=sys.argv[1] == "responses", **fields)


def answer():
    said = model("mock-text").invoke("hello")
    same(said.usage_metadata["input_tokens"], 1)
    return same(said.text, ANSWER)


def stream():
    whole = None
    for chunk in model("mock-text").stream("hello"):
        whole = chunk if whole is None else whole + chunk
    same(whole.usage_metadata["input_tokens"], 1)
    return same(whole.text, ANSWER)


def tools():
    bound = model("mock-1").bind_tools([weather])
    told = [HumanMessage("hello"), bound.invoke("hello")]
    told += [weather.invoke(call) for call in told[1].tool_calls]
    same(told[2].content, f"{SUNNY} in mock")
    return within(SUNNY, bound.invoke(told).text)


def structured(method):
    return lambda: same(
        model("mock-1").with_structured_output(Weather, method=method).invoke("hello"),
        Weather(city="mock", unit="celsius"),
    )


def embeddings():
    from langchain_openai import OpenAIEmbeddings

    vectors = OpenAIEmbeddings(
        model="mock-1", base_url=f"{BASE}/v1", api_key=KEY, check_embedding_ctx_length=False
    ).embed_documents(["a", "b"])
    return f"{len(vectors)} vectors of {len(vectors[0])}"


more = {"embeddings": embeddings} if sys.argv[1] == "chat" else {}
run(answer=answer, stream=stream, tools=tools, structured=structured("json_schema"),
    structured_by_tool=structured("function_calling"), **more)  # fmt: skip
