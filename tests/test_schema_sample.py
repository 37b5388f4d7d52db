"""The sampler of JSON schemas: what it gives is valid, the same each time, and bounded, whatever the schema is."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import AnyUrl, BaseModel, Field

from gateway.pattern_sample import sample_pattern
from gateway.schema_sample import MAX_STEPS, sample, sample_object, schema_in_text

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


def objects(inner: Any) -> Any:
    """Schemas of objects: every property may be required, and nothing else may be there."""

    def build(properties: dict[str, Any], required: list[bool], closed: bool) -> dict[str, Any]:
        names = [name for name, wanted in zip(properties, required, strict=False) if wanted]
        return {"type": "object", "properties": properties, "required": names, "additionalProperties": not closed}

    names = st.text("abcxyz", min_size=1, max_size=3)
    return st.builds(
        build, st.dictionaries(names, inner, max_size=3), st.lists(st.booleans(), max_size=3), st.booleans()
    )


def bounded(kind: str, low: str, high: str, most: int) -> Any:
    """Schemas of one type with bounds that leave room."""
    pair = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    return pair.map(lambda ends: {"type": kind, low: ends[0], high: ends[1]})


def ranges(kind: str) -> Any:
    """Schemas of numbers that have at least one value."""
    ends = st.tuples(st.integers(-50, 50), st.integers(3, 40), st.sampled_from(["", "exclusiveM", "m"]))

    def build(drawn: tuple[int, int, str]) -> dict[str, Any]:
        low, width, how = drawn
        if how == "exclusiveM":
            return {"type": kind, "exclusiveMinimum": low, "exclusiveMaximum": low + width}
        return {"type": kind, "minimum": low, "maximum": low + width} if how else {"type": kind, "multipleOf": width}

    return ends.map(build)


LEAVES = (
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["null", "integer"]}, {}, True])
    | bounded("string", "minLength", "maxLength", 20)
    | ranges("integer")
    | ranges("number")
    | st.lists(JSON, min_size=1, max_size=3).map(lambda values: {"enum": values})
    | JSON.map(lambda value: {"const": value})
    | st.sampled_from(["date", "email", "uuid", "ipv4", "uri"]).map(lambda form: {"type": "string", "format": form})
)
SCHEMAS: Any = st.recursive(
    LEAVES,
    lambda inner: (
        objects(inner)
        | inner.map(lambda items: {"type": "array", "items": items, "minItems": 2, "maxItems": 3})
        | st.lists(inner, max_size=3).map(lambda first: {"type": "array", "prefixItems": first})
        | st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
        | objects(inner).map(lambda part: {"allOf": [part], "description": "d"})
        | inner.map(lambda part: {"$defs": {"a/b": part}, "$ref": "#/$defs/a~1b"})
    ),
    max_leaves=10,
)


def checked(schema: Any, value: Any) -> Any:
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)
    return value


def rooted(schema: Any) -> Any:
    """References of a nested schema point at the root: those of a part that is no root are taken out."""
    text = json.dumps(schema)
    return text.count('"$ref"') == 0 or (isinstance(schema, dict) and "$ref" in schema and text.count('"$ref"') == 1)


@settings(max_examples=400, deadline=None)
@given(SCHEMAS.filter(rooted))
def test_a_sample_is_valid_and_always_the_same(schema: Any) -> None:
    value = checked(schema, sample(schema))
    assert json.dumps(sample(schema)) == json.dumps(value)


WORDS = ["type", "enum", "properties", "items", "anyOf", "allOf", "$ref", "required", "minimum", "minLength", "pattern",
         "minItems", "multipleOf", "prefixItems", "contains"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON | st.dictionaries(st.sampled_from(WORDS), JSON))
def test_garbage_gives_something_that_json_can_say(schema: Any) -> None:
    json.dumps(sample(schema), allow_nan=False)
    assert isinstance(sample_object(schema), dict)


class Address(BaseModel):
    street: str = Field(min_length=2)
    zip_code: str = Field(pattern=r"^\d{5}(-\d{4})?$")
    kind: Literal["home", "work"]


class Person(BaseModel):
    name: str
    age: Annotated[int, Field(ge=18, lt=120)]
    score: float | None = None
    site: AnyUrl
    tags: set[str] = Field(min_length=2)
    addresses: list[Address] = Field(min_length=1, max_length=3)
    best: Address | None
    friends: list[Person] = []
    pair: tuple[int, str]
    counts: dict[str, int]


def test_what_pydantic_asks_for_pydantic_reads() -> None:
    schema = Person.model_json_schema()
    read = Person.model_validate(checked(schema, sample(schema)))
    assert read.name == "mock"
    assert read.friends == []
    assert re.fullmatch(r"\d{5}(-\d{4})?", read.addresses[0].zip_code)


HARD: list[tuple[Any, Any]] = [
    ({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
     {"city": "mock", "days": 1}),
    ({"$defs": {"Node": {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [
        {"$ref": "#/$defs/Node"}, {"type": "null"}]}}, "required": ["value", "next"]}}, "$ref": "#/$defs/Node"},
     {"value": 1, "next": None}),
    ({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
     {"children": [{"children": []}]}),
    ({"$defs": {"E": {"oneOf": [{"type": "array", "items": {"$ref": "#/$defs/E"}, "minItems": 2},
     {"type": "integer"}]}}, "$ref": "#/$defs/E"}, 1),
    ({"allOf": [{"type": "object", "properties": {"a": {"minimum": 3}}}, {"$ref": "#/$defs/B"}],
     "$defs": {"B": {"properties": {"a": {"type": "integer", "maximum": 9}}, "required": ["a"]}}}, {"a": 3}),
    ({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]}, 5),
    ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 2]}]}, 2),
    ({"allOf": [{"type": ["integer", "string"]}, {"type": "number"}, {"exclusiveMinimum": 4}]}, 5),
    ({"allOf": [{"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"minimum": 7}]}],
      "type": "integer"}, 7),
    ({"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3}, ["a", "b", "c"]),
    ({"type": "array", "items": {"type": "number", "minimum": 1, "maximum": 3}, "uniqueItems": True, "minItems": 2},
     [1, 2]),
    ({"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 8}}, [8]),
    ({"type": "array", "items": False}, []),
    ({"type": "array", "items": [{"const": 1}, {"const": 2}]}, [1, 2]),
    ({"type": "object", "minProperties": 2, "additionalProperties": {"type": "null"}},
     {"mock0": None, "mock1": None}),
    ({"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1, "required": ["b"]}, None),
    ({"type": "object", "properties": {"a": False, "b": {"type": "null"}}}, {"b": None}),
    ({"required": ["x"], "additionalProperties": {"type": "boolean"}}, {"x": True}),
    ({"type": "integer", "multipleOf": 7, "minimum": 100}, 105),
    ({"type": "integer", "multipleOf": 1.5}, 3),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$", "minLength": 6}, "AA-000"),
    ({"type": "string", "maxLength": 2}, "mo"),
    ({"type": ["null", "string"]}, "mock"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), HARD, ids=[json.dumps(schema)[:60] for schema, _ in HARD])
def test_schemas_that_need_thought(schema: Any, expected: Any) -> None:
    value = sample(schema)
    if expected is not None:
        assert value == expected
    if "[{" not in json.dumps(schema.get("items", "")):  # the draft of the validator has no lists there
        checked(schema, value)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}},
                                              "required": ["a"]}}},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"enum": []},
        False,
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
    ],
)  # fmt: skip
def test_schemas_without_a_value_give_the_empty_object(schema: Any) -> None:
    assert sample(schema) in ({}, "mock")


def test_a_schema_that_doubles_itself_is_bounded() -> None:
    defs: Any = {f"L{level}": {"type": "object", "required": ["a", "b"], "properties": {
        name: {"$ref": f"#/$defs/L{level + 1}"} for name in "ab"}} for level in range(40)}  # fmt: skip
    assert MAX_STEPS < 2**40
    assert sample({"$defs": defs, "$ref": "#/$defs/L0"}) == {}
    deep: Any = {"type": "integer"}
    for _ in range(100_000):
        deep = {"type": "array", "items": deep}
    assert len(json.dumps(sample(deep))) < 1000


def test_free_texts_say_the_word() -> None:
    schema = {"properties": {"text": {"type": "string"}, "mode": {"enum": ["a"]}}}
    assert sample_object(schema, "hello there") == {"text": "hello there", "mode": "a"}
    assert sample_object({"type": "string"}) == sample_object(None) == {}


PATTERNS = [
    "^[a-z]+$", r"^\d{3}-\d{4}$", r"^(foo|bar)\.txt$", r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "a*b?c+", r"^#[0-9a-fA-F]{6}$",
    r"^https?://", r"^\w+(?:-\w+)*$", r"[^a-z0-9]", "^$", "^.{3,5}$", r"^\$\{x\}$", "^[ä-ü]+$", r"^[\w.+-]+$",
    "x{2}y{0}",
    r"^v\d+\.\d+\.\d+(?:-[a-z]+)?$", "^[A-Z][a-z]+( [A-Z][a-z]+)+$", r"^\S+$", r"^[^\d]$", "",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_finds_its_sample(pattern: str) -> None:
    for least in (0, 3):
        text = sample_pattern(pattern, least)
        if text is None:
            assert least
            continue
        assert re.search(pattern, text)
        assert len(text) >= least


ATOMS = st.sampled_from(["a", "7", ".", r"\d", r"\w", r"\.", "[a-f]", "[^a-f]", r"[\s_]", "-"])
COUNTS = st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,3}", "{2,}", "+?"])
EXPRESSIONS: Any = st.recursive(
    st.tuples(ATOMS, COUNTS).map("".join),
    lambda inner: (
        st.lists(inner, max_size=3).map("".join)
        | st.tuples(st.sampled_from(["(", "(?:"]), inner, st.just(")"), COUNTS).map("".join)
        | st.tuples(st.just("(?:"), inner, st.just("|"), inner, st.just(")")).map("".join)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.integers(0, 6))
def test_every_known_expression_finds_its_sample(expression: str, least: int) -> None:
    text = sample_pattern(f"^{expression}$", least)
    if text is not None:
        assert re.search(f"^(?:{expression})$", text)
        assert len(text) >= least
    assert least or text is not None


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)b", r"(a)\1", r"\p{L}", "(", "[", "a)", "*", "(((a{999}){999}){999}){999}", "x" * 2000, "a{2", "(?P<n>a)"],
)
def test_what_is_not_known_is_left_to_a_plain_word(pattern: str) -> None:
    assert sample_pattern(pattern) is None
    assert sample({"type": "string", "pattern": pattern}) == "mock"


def test_a_schema_is_found_in_a_prompt() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert schema_in_text(f"Answer in JSON, {{like}} {{}} this:\n{json.dumps(schema, indent=2)}\nOnly that.") == schema
    assert schema_in_text("no { schema } here") is None
    assert schema_in_text("{" * 100_000) is None
