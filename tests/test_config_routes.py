"""Models, fallbacks, keys, retries and breakers, as an operator writes them."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, Limits, decode_config
from gateway.errors import UnknownModel
from gateway.routing.retry import RetryPolicy
from tee.errors import Malformed

DOC = Path(__file__).parent.parent / "docs" / "fallback.md"
PROVIDERS = [
    {"id": "gpt", "family": "openai"},
    {"id": "claude", "family": "anthropic"},
    {"id": "local", "family": "vllm", "base_url": "https://vllm.example"},
    {"id": "plain", "family": "vllm"},
]


def configured(*models: dict[str, Any], **others: Any) -> Config:
    rows = [model if "providers" in model else {"provider": "gpt", **model} for model in models] or [
        {"id": "a", "provider": "gpt"}
    ]
    return decode_config({"providers": PROVIDERS, "models": rows, **others}, {})


@pytest.mark.parametrize(
    ("row", "field", "found"),
    [
        ({}, "provider", "neither"),
        ({"provider": "gpt", "providers": ["gpt"]}, "provider", "both"),
        ({"providers": []}, "providers", "none"),
        ({"providers": ["gpt", "nobody"]}, "providers", "'nobody'"),
        ({"providers": ["gpt", "gpt"]}, "providers", "2 texts"),
        ({"providers": ["gpt", "plain"]}, "providers[1]", "a, whose provider plain is reached without TLS"),
        ({"providers": ["gpt"], "upstream_model": {"claude": "x"}}, "upstream_model.claude", "an unknown name"),
        ({"provider": "gpt", "content_hash": "ab"}, "content_hash", '"ab"'),
    ],
)
def test_providers_that_cannot_serve_a_model_are_refused_by_name(row: dict[str, Any], field: str, found: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode_config({"providers": PROVIDERS, "models": [{"id": "a", **row}]}, {})
    assert (caught.value.field, caught.value.found) == (f"config.models[0].{field}", found)


def fault(*models: dict[str, Any], **others: Any) -> tuple[str, str]:
    with pytest.raises(Malformed) as caught:
        configured(*models, **others)
    return caught.value.field, caught.value.found


def test_a_chain_is_the_list_that_stands_there_by_ids_or_aliases() -> None:
    table = configured(
        {"id": "a", "fallback": ["b", "third"]},
        {"id": "b", "provider": "claude", "fallback": ["a"]},
        {"id": "c", "provider": "local", "aliases": ["third"]},
    ).models
    assert [route.model.id for route in table.fallbacks(table.route("a"))] == ["b", "c"]
    assert [route.connector.id for route in table.fallbacks(table.route("b"))] == ["gpt"]
    assert table.fallbacks(table.route("third")) == []


def test_one_fallback_needs_no_array() -> None:
    table = configured({"id": "a", "fallback": "b"}, {"id": "b"}).models
    assert [route.model.id for route in table.fallbacks(table.route("a"))] == ["b"]


def test_a_model_may_have_several_providers_each_with_its_own_name_of_it() -> None:
    table = configured(
        {"id": "a", "provider": "gpt"},
        {"id": "b", "providers": ["gpt", "claude"], "upstream_model": {"claude": "theirs"}},
        {"id": "c", "providers": ["gpt", "local"], "upstream_model": "same"},
    ).models
    served = {name: table.served_by(table.route(name)) for name in ("a", "b", "c")}
    assert [(route.connector.id, route.model.upstream_model) for route in served["b"]] == [
        ("gpt", "b"),
        ("claude", "theirs"),
    ]
    assert [route.model.upstream_model for route in served["c"]] == ["same", "same"]
    assert len(served["a"]) == 1


def test_a_name_is_an_id_then_an_alias_then_the_longest_prefix() -> None:
    """C18."""
    table = configured(
        {"id": "any", "prefix": "gpt/"},
        {"id": "own", "prefix": "gpt/own/", "provider": "local"},
        {"id": "gpt/5"},
        {"id": "b", "aliases": ["gpt/own/b"]},
    ).models

    def place(name: str) -> tuple[str, str, str]:
        route = table.route(name)
        return route.model.id, route.connector.id, route.model.upstream_model

    assert place("gpt/5") == ("gpt/5", "gpt", "gpt/5")
    assert place("gpt/own/b") == ("b", "gpt", "b")
    assert place("gpt/own/c:7") == ("gpt/own/c:7", "local", "c:7")
    assert place("gpt/x/y") == ("gpt/x/y", "gpt", "x/y")
    assert [model.id for model in table.models] == ["gpt/5", "b"]
    for name in ("any", "gpt/", "gpt/../x", "gpt/a//b", "gpt//a", "gpt/a?b", "gpt/" + "a" * 129, "gp", "gpt/a\n"):
        with pytest.raises(UnknownModel):
            table.route(name)


PAINTER = {"id": "b", "capabilities": ["chat", "images", "tools"]}
EMBEDDER = {"capabilities": ["embeddings"]}


@pytest.mark.parametrize(
    ("models", "field", "found"),
    [
        ([{"id": "a", "fallback": ["x"]}], "fallback[0]", "'x'"),
        ([{"id": "a", "fallback": ["a"]}], "fallback[0]", "a, a second time"),
        ([{"id": "a", "aliases": ["me"], "fallback": ["me"]}], "fallback[0]", "a, a second time"),
        ([{"id": "a", "fallback": ["b", "bee"]}, {"id": "b", "aliases": ["bee"]}], "fallback[1]", "b, a second time"),
        ([{"id": "a", "fallback": ["b", "b"]}, {"id": "b"}], "fallback", "2 texts"),
        ([{"id": "a", "fallback": [1]}], "fallback", "an array"),
        ([{"id": "a", "fallback": 1}], "fallback", "an integer"),
        ([{"id": "a", "fallback": [f"m{at}" for at in range(8)]}], "fallback", "8 texts"),
        ([{"id": "a", "capabilities": ["flight"]}], "capabilities", "'flight'"),
        ([{"id": "a", "fallback": ["b"]}, {"id": "b", "prefix": "b/"}], "fallback[0]", "'b'"),
        ([{"id": "a", "prefix": ""}], "prefix", "nothing"),
        ([{"id": "a", "prefix": "a/", "upstream_model": "b"}], "prefix", "a prefix beside upstream_model"),
        ([{"id": "a", "prefix": "a/", "fallback": ["b"]}, {"id": "b"}], "prefix", "a prefix beside fallback"),
        (
            [{"id": "a", "capabilities": ["chat", "images", "audio"], "fallback": ["b"]}, PAINTER],
            "fallback[0]",
            "b without audio",
        ),
        (
            [{"id": "a", **EMBEDDER, "fallback": ["b"]}, {"id": "b", "provider": "claude", **EMBEDDER}],
            "fallback[0]",
            "b, whose provider claude does not offer /v1/embeddings",
        ),
        (
            [{"id": "a", "fallback": ["b"]}, {"id": "b", "provider": "plain"}],
            "fallback[0]",
            "b, whose provider plain is reached without TLS",
        ),
    ],
)
def test_a_fallback_that_cannot_stand_in_is_refused_by_name(models: Any, field: str, found: str) -> None:
    assert fault(*models) == (f"config.models[0].{field}", found)


def test_a_prefix_alone_is_no_table_of_models() -> None:
    assert fault({"id": "any", "prefix": "any/"}) == ("config.models", "prefixes only")


def test_a_fallback_may_do_more_than_its_model() -> None:
    assert configured({"id": "a", "capabilities": ["chat", "tools"], "fallback": ["b"]}, PAINTER)
    assert configured({"id": "a", **EMBEDDER, "fallback": ["b"]}, {"id": "b", "provider": "local", **EMBEDDER})
    assert configured({"id": "a", "provider": "plain", "fallback": ["b"]}, {"id": "b"})


def test_the_documented_configuration_loads_and_its_numbers_are_the_defaults() -> None:
    document = tomllib.loads(DOC.read_text().split("```toml\n")[1].split("```")[0])
    config = decode_config(document, {})
    assert [route.model.id for route in config.models.fallbacks(config.models.route("gpt-5"))] == ["claude"]
    assert len(config.models.connectors["openai"].spares) == 1
    assert (asdict(config.retry), asdict(config.breaker)) == (document["retry"], document["breaker"])
    assert config.limits == Limits()


def keys(**row: Any) -> list[tuple[tuple[str, ...], str | None]]:
    document = {"providers": [{"id": "p", "family": "zai", **row}], "models": [{"id": "a", "provider": "p"}]}
    connector = decode_config(document, {}).models.connectors["p"]
    return [(key.credential_env, key.credential_file) for key in (connector, *connector.spares)]


def test_a_provider_has_as_many_keys_as_places_are_named() -> None:
    usual = ("ZAI_API_KEY", "ZHIPU_API_KEY")
    assert keys() == [(usual, None)]
    assert keys(credential_env="A") == [(("A",), None)]
    assert keys(credential_env=["A", "B"]) == [(("A",), None), (("B",), None)]
    assert keys(credential_file=["/a", "/b"]) == [(usual, "/a"), (usual, "/b")]


@pytest.mark.parametrize("names", [["A", "A"], [""], [1], [str(at) for at in range(9)], {}])
def test_keys_are_named_once_each_and_bounded(names: Any) -> None:
    with pytest.raises(Malformed) as caught:
        keys(credential_env=names)
    assert caught.value.field == "config.providers[0].credential_env"


@pytest.mark.parametrize(
    ("table", "row", "field"),
    [
        ("retry", {"attempts": 0}, "attempts"),
        ("retry", {"attempts": 9}, "attempts"),
        ("retry", {"cap_milliseconds": "1"}, "cap_milliseconds"),
        ("retry", {"tries": 1}, "tries"),
        ("breaker", {"failures": 0}, "failures"),
        ("breaker", {"rest_seconds": 3601}, "rest_seconds"),
        ("breaker", {"rest": 1}, "rest"),
    ],
)
def test_retries_and_breakers_are_bounded(table: str, row: dict[str, Any], field: str) -> None:
    assert fault(**{table: row})[0] == f"config.{table}.{field}"


def test_what_is_unsaid_stays_as_it_is() -> None:
    assert configured(retry={"attempts": 3}).retry == RetryPolicy(attempts=3)


def test_every_setting_of_routing_changes_a_digest() -> None:
    two: tuple[dict[str, Any], dict[str, Any]] = {"id": "a"}, {"id": "b"}
    plain = configured(*two).digests()
    for changed, other in (
        ("models", configured({"id": "a", "fallback": ["b"]}, two[1])),
        ("models", configured({"id": "a", "capabilities": ["chat", "tools"]}, two[1])),
        ("settings", configured(*two, retry={"attempts": 3})),
        ("settings", configured(*two, breaker={"failures": 3})),
        ("settings", configured(*two, drain=True)),
        ("settings", configured(*two, limits={"first_token_seconds": 3})),
        ("settings", configured(*two, limits={"total_seconds": 3})),
    ):
        digests = other.digests()
        assert {name for name in plain if plain[name] != digests[name]} == {changed}
    one, more = ([{"id": "gpt", "family": "openai", "credential_env": names}] for names in (["A"], ["A", "B"]))
    rows = [{"id": "a", "provider": "gpt"}]
    seen = [decode_config({"providers": each, "models": rows}, {}).digests()["providers"] for each in (one, more)]
    assert seen[0] != seen[1]
