"""`/v1/embeddings` of every provider that can embed, over sockets: both forms, dimensions, inputs, tokens, usage."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

from gateway.dialects import bedrock_embeddings, gemini_embeddings, ollama_embeddings
from gateway.dialects.openai_embeddings import NAME, decode_request, encode_answer
from gateway.dialects.quirks import PLAIN
from gateway.errors import GatewayError, InvalidRequest
from gateway.languages import SERVICES
from tee.canonical import digest_bytes
from tests.conftest import find_vectors
from tests.test_responses import OURS, asked
from tests.worlds.families import EveryFamily, every_family
from tests.worlds.upstream import STREAM

EMBEDDINGS = "/v1/embeddings"
BEDROCK = {"titan": "amazon.titan-embed-text-v2:0", "cohere": "eu.cohere.embed-v4:0",
           "nova": "amazon.nova-2-multimodal-embeddings-v1:0", "chatty": "amazon.nova-pro-v1:0"}  # fmt: skip
MODELS = {name: ("bedrock", theirs) for name, theirs in BEDROCK.items()} | {
    "gem": ("gemini", "gemini-embedding-001"), "ver": ("vertex", "text-embedding-005"), "oll": ("ollama", "gemma"),
}  # fmt: skip
PROJECT = "/v1/projects/p/locations/global/publishers/google"
PAIR = [[0.25, -0.5], [0.125, 1]]

# Model, where it is asked, what it is sent for two dimensions of the inputs, what it answers, tokens; None if untold.
WAYS: list[tuple[str, str, list[str], Any, Any, int | None]] = [
    ("gem", "/v1/models/gemini-embedding-001:batchEmbedContents", ["a", "b"],
     {"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]},
                    "outputDimensionality": 2} for text in "ab"]},
     {"embeddings": [{"values": vector} for vector in PAIR]}, None),
    ("ver", PROJECT + "/models/text-embedding-005:predict", ["a", "b"],
     {"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"outputDimensionality": 2}},
     {"predictions": [{"embeddings": {"values": vector, "statistics": {"token_count": 3}}} for vector in PAIR]}, 6),
    ("oll", "/api/embed", ["a", "b"], {"model": "gemma", "input": ["a", "b"], "dimensions": 2},
     {"model": "gemma", "embeddings": PAIR, "prompt_eval_count": 4}, 4),
    ("titan", "/model/amazon.titan-embed-text-v2%3A0/invoke", ["a"], {"inputText": "a", "dimensions": 2},
     {"embedding": PAIR[0], "embeddingsByType": {"float": PAIR[0]}, "inputTextTokenCount": 5}, 5),
    ("cohere", "/model/eu.cohere.embed-v4%3A0/invoke", ["a", "b"],
     {"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 2},
     {"id": "i", "embeddings": {"float": PAIR}, "response_type": "embeddings_by_type", "texts": ["a", "b"]}, None),
    ("cohere", "/model/eu.cohere.embed-v4%3A0/invoke", ["a", "b"],
     {"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 2},
     {"id": "i", "embeddings": PAIR, "response_type": "embeddings_floats"}, None),
    ("nova", "/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke", ["a"],
     {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {
         "embeddingPurpose": "GENERIC_INDEX", "text": {"truncationMode": "NONE", "value": "a"},
         "embeddingDimension": 2}},
     {"embeddings": [{"embeddingType": "TEXT", "embedding": PAIR[0]}]}, None),
]  # fmt: skip
MEMBERS = ["embeddings", "embedding", "values", "float", "predictions", "statistics", "token_count"]
SAME = ("openai", "openai-responses", "azure", "azure-v1", "azure-responses", "vllm", "nvidia", "zai")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[EveryFamily]:
    with every_family(tmp_path_factory.mktemp("embeddings"), chip_file, MODELS) as running:
        yield running


def unpacked(text: str) -> list[float]:
    raw = base64.b64decode(text)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


@pytest.mark.parametrize(("model", "place", "inputs", "sent", "answer", "tokens"), WAYS)
def test_a_provider_is_asked_in_its_own_words_and_answers_in_both_forms(
    world: EveryFamily, model: str, place: str, inputs: list[str], sent: Any, answer: Any, tokens: int | None
) -> None:
    for form in ("float", "base64", None):
        world.play(json.dumps(answer).encode())
        fields = {"dimensions": 2, "user": "u"} | ({"encoding_format": form} if form else {})
        said = inputs[0] if len(inputs) == 1 and form else inputs  # alone, or in a list of one
        answered = world.gateway.post(asked(said, model, **fields), EMBEDDINGS)
        assert answered.status == 200, answered.raw
        assert (world.upstream.got.path, json.loads(world.upstream.got.body)) == (place, sent)
        rows = answered.json["data"]
        assert [(row["object"], row["index"]) for row in rows] == [("embedding", at) for at in range(len(inputs))]
        found = [unpacked(row["embedding"]) if form == "base64" else row["embedding"] for row in rows]
        assert found == PAIR[: len(inputs)]
        assert answered.json["usage"] == {"prompt_tokens": tokens or 0, "total_tokens": tokens or 0}
        receipt = world.gateway.verified(answered)
        assert receipt.events["request.forwarded"]["body_hash"] == digest_bytes(world.upstream.got.body)
        assert answered.json["attestation"]["receipt_id"] == answered.receipt_id


def test_openais_client_reads_every_providers_recorded_vectors(world: EveryFamily) -> None:
    folder = find_vectors() / "dialects"
    recorded = [("gem", folder / "gemini"), ("nova", folder / "bedrock-invoke"), ("ver", folder / "vertex")]
    seen = 0
    with OpenAI(base_url=f"{world.gateway.url}/v1", api_key=world.gateway.api_key, max_retries=0) as client:
        for model, place in recorded:
            for path in sorted(place.glob("*embedding*.response.json")):
                answer = json.loads(path.read_bytes())
                rows = answer.get("predictions") or answer["embeddings"]
                world.play(path.read_bytes())
                got = client.embeddings.create(model=model, input=["x"] * len(rows))  # the SDK asks for base64
                given = [row.get("values") or row.get("embedding") or row["embeddings"]["values"] for row in rows]
                for vector, row in zip(given, got.data, strict=True):
                    assert row.embedding == pytest.approx(vector, rel=1e-6), path.name
                seen += 1
    assert seen == 3


def test_recorded_requests_are_those_that_providers_got() -> None:
    """What others were seen to send, we send, but for wishes of theirs that OpenAI's clients cannot say."""
    folder = find_vectors() / "dialects"
    (gem,), (nova,) = (
        sorted((folder / vendor).glob("*embedding*.request.json")) for vendor in ("gemini", "bedrock-invoke")
    )
    wanted = json.loads(gem.read_bytes())
    text = wanted["requests"][0]["content"]["parts"][0]["text"]
    request = decode_request(asked(text, "gemini-embedding-001", dimensions=768))
    assert json.loads(gemini_embeddings.BATCH.encode_request(request, PLAIN)) == wanted
    wanted = json.loads(nova.read_bytes())
    wanted["singleEmbeddingParams"]["text"]["truncationMode"] = "NONE"  # a text too long is refused, never cut
    request = decode_request(asked(text, BEDROCK["nova"], dimensions=256))
    assert json.loads(bedrock_embeddings.PROVIDER.encode_request(request, PLAIN)) == wanted


@pytest.mark.parametrize("model", SAME)
def test_a_provider_of_the_same_language_answers_byte_for_byte(world: EveryFamily, model: str) -> None:
    for path in sorted((find_vectors() / "dialects" / "openai-embeddings").glob("*.response.json")):
        world.play(path.read_bytes())
        body = asked([[1, 2], [3]], model, dimensions=2, encoding_format="base64", theirs=True)
        answered = world.gateway.post(body, EMBEDDINGS)
        assert OURS.sub(b"", answered.raw) == path.read_bytes()
        sent = json.loads(world.upstream.got.body)
        assert {**sent, "model": model} == json.loads(body)  # tokens, and what we do not know, pass too
        assert world.upstream.got.path.split("?")[0].endswith("/embeddings")
    world.gateway.verified(answered)


@pytest.mark.parametrize("model", ["gem", "ver", "oll", "titan", "cohere", "nova"])
def test_tokens_are_refused_where_only_text_is_read(world: EveryFamily, model: str) -> None:
    for said, place in (([1, 2], "input[0]"), (["a", [1]], "input[1]")):
        if model in ("titan", "nova") and len(said) > 1 and place == "input[1]":
            continue  # two inputs are refused for their number
        world.play(b"{}")
        answered = world.gateway.post(asked(said, model), EMBEDDINGS)
        error = answered.json["error"]
        assert (answered.status, error["param"]) == (400, place), answered.raw
        assert "tokens" in error["message"] and not world.upstream.received
        world.gateway.verified(answered)


def test_what_a_model_cannot_is_refused_before_it_is_asked(world: EveryFamily) -> None:
    for model, said, param, words in (
        ("titan", ["a", "b"], "input", "takes one"),
        ("nova", ["a", "b"], "input", "takes one"),
        ("chatty", ["a"], "model", "not known to embed"),
    ):
        world.play(b"{}")
        answered = world.gateway.post(asked(said, model), EMBEDDINGS)
        assert (answered.status, answered.json["error"]["param"]) == (400, param)
        assert words in answered.json["error"]["message"] and not world.upstream.received
    for model in ("anthropic", "minimax", "deepseek", "kimi"):
        answered = world.gateway.post(asked("a", model), EMBEDDINGS)
        assert (answered.status, answered.json["error"]["code"]) == (503, "not_offered")


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("gem", {"embeddings": [{"values": [0.5]}]}),  # one for two inputs
        ("gem", {"embeddings": [{"values": ["x"]}, {"values": [0.5]}]}),
        ("gem", {"embeddings": [{}, {}]}),
        ("ver", {"predictions": [{"embeddings": {"values": [1e39]}}] * 2}),
        ("oll", {"embeddings": [[0.5], [10**400]]}),
        ("oll", {"embeddings": []}),
        ("oll", {"error": "out of memory"}),
        ("cohere", {"embeddings": {"int8": [[1], [2]]}}),
        ("cohere", {}),
    ],
)
def test_what_is_no_list_of_vectors_is_a_failure(world: EveryFamily, model: str, answer: Any) -> None:
    world.play(json.dumps(answer).encode())
    answered = world.gateway.post(asked(["a", "b"], model), EMBEDDINGS)
    assert (answered.status, answered.json["error"]["type"]) == (502, "server_error")
    world.gateway.verified(answered)


def test_a_stream_and_a_refusal_are_told(world: EveryFamily) -> None:
    world.play(b"data: {}\n\n", STREAM)
    answered = world.gateway.post(asked("a", "gem"), EMBEDDINGS)
    assert (answered.status, answered.json["error"]["code"]) == (502, "upstream_failed")
    world.play(b'{"error":{"code":400,"message":"too many dimensions","status":"INVALID_ARGUMENT"}}', status=400)
    answered = world.gateway.post(asked("a", "gem"), EMBEDDINGS)
    assert (answered.status, answered.json["error"]["message"]) == (400, "too many dimensions")


def test_a_client_may_say_to_cohere_what_its_text_is_for() -> None:
    request = decode_request(asked("a", BEDROCK["cohere"], input_type="search_query"))
    sent = json.loads(bedrock_embeddings.PROVIDER.encode_request(request, PLAIN))
    assert sent == {"texts": ["a"], "input_type": "search_query", "embedding_types": ["float"]}
    with pytest.raises(InvalidRequest, match="input_type"):
        bedrock_embeddings.PROVIDER.encode_request(decode_request(asked("a", BEDROCK["cohere"], input_type=3)), PLAIN)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner),
        max_leaves=9,
    )
)
def test_no_answer_raises_anything_but_a_failure(answer: Any) -> None:
    request = decode_request(asked("a"))
    sides = SERVICES[EMBEDDINGS].providers
    assert len([side for side in sides.values() if side.name != NAME]) == 4
    for decode in (
        gemini_embeddings.decode_answer,
        ollama_embeddings.decode_answer,
        bedrock_embeddings.decode_answer,
    ):
        try:
            encode_answer(decode(json.dumps(answer).encode()), request, "t", 1, None)
        except GatewayError as error:
            assert error.status == 502
