"""Prices, estimates and bills: integers in, integers out, rounded once."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from gateway.config import Config, decode_config
from gateway.config_prices import built_in_list
from gateway.inference import InferenceRequest, Media, Message, Text, ToolResult, Usage
from gateway.money.bill import Bill, Charge, Ending, reservation
from gateway.money.estimate import IMAGE_TOKENS, UNSEEN_TOKENS, hold_of, tokens_left
from gateway.money.price_list import PAYLOAD_TYPE, decode_price, encode_price, parse_price_list
from gateway.money.pricing import Price, Rates, Tariff
from gateway.money.usd import parse_usd, usd, usd_text
from tee.errors import Malformed
from tee.measure.envelope import Signers, seal_envelope

SONNET = Rates(3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000)
LIST: dict[str, Any] = {
    "format": "saferouter/prices/v1", "version": "7", "date": "2026-11-21", "currency": "USD",
    "prices": [{"provider": "openai", "model": "gpt-x", "input": 2_500_000, "output": 10_000_000},
               {"provider": "mine", "model": "gpt-x", "input": 1, "output": 2}],
}  # fmt: skip
ASKED = InferenceRequest("openai_chat", "m", (Message("user", (Text("Hello"),)),))


def tariff(rates: Rates = SONNET, margin: int = 0, **price: Any) -> Tariff:
    return Tariff(Price(rates, **price), margin)


@pytest.mark.parametrize(
    ("rates", "usage", "micro_usd"),
    [
        (SONNET, Usage(1000, 100), 3000 + 1500),
        (SONNET, Usage(1000, 0, cached_tokens=400), 600 * 3 + 120),
        (SONNET, Usage(1000, 0, cache_write_tokens=400), 600 * 3 + 1500),
        (SONNET, Usage(1000, 0, cache_write_tokens=400, cache_write_1h_tokens=100), 600 * 3 + 1125 + 600),
        (SONNET, Usage(0, 100, reasoning_tokens=60), 1500),
        (replace(SONNET, reasoning=20_000_000), Usage(0, 100, reasoning_tokens=60), 40 * 15 + 60 * 20),
        (replace(SONNET, audio_input=32_000_000), Usage(100, 0, audio_prompt_tokens=40), 60 * 3 + 40 * 32),
        (replace(SONNET, audio_output=64_000_000), Usage(0, 100, audio_completion_tokens=40), 60 * 15 + 40 * 64),
        (Rates(2_000_000, 0), Usage(100, 0, cached_tokens=60, cache_write_tokens=40), 200),
        (Rates(0, 0), Usage(5, 5), 0),
        (Rates(1, 0), Usage(1, 0), 1),  # the smallest price there is, rounded up
    ],
)
def test_each_class_of_tokens_has_its_price(rates: Rates, usage: Usage, micro_usd: int) -> None:
    """R222: a tier of the cache has its own price where it has one."""
    assert tariff(rates).cost(usage) == micro_usd


def test_a_margin_and_a_fee_are_added_before_the_one_rounding() -> None:
    """R86: a percentage of what inference costs."""
    assert tariff(margin=500).cost(Usage(1000, 0)) == 3150
    assert tariff(margin=1, request=7).cost(Usage(1000, 0)) == 3008  # 3007.3007
    assert tariff(request=1000).cost(Usage(0, 0)) == 1000


def test_a_long_prompt_has_the_price_of_long_prompts() -> None:
    long = tariff(above=((200_000, replace(SONNET, input=6_000_000)),))
    assert long.cost(Usage(200_000, 0)) == 600_000
    assert long.cost(Usage(200_001, 0)) == 1_200_006


_COUNT = st.integers(0, 1 << 20)


@given(st.builds(Rates, *([st.integers(0, 10**8)] * 8)), _COUNT, st.integers(0, 4096), st.data(), st.integers(0, 9999))
def test_no_answer_within_its_bounds_costs_more_than_was_held(
    rates: Rates, prompt: int, completion: int, data: st.DataObject, margin: int
) -> None:
    parts = [data.draw(st.integers(0, prompt // 3)) for _ in range(2)]
    hour = data.draw(st.integers(0, parts[1]))
    usage = Usage(prompt, completion, parts[0], parts[1], data.draw(st.integers(0, completion)), hour)
    price = tariff(rates, margin, above=((1000, rates), (2000, replace(rates, input=2 * rates.input))))
    assert price.cost(usage) <= hold_of(price, replace(ASKED, max_tokens=4096), prompt).micro_usd


def test_what_is_held_follows_the_bounds_of_call_and_model() -> None:
    flat = Rates(1_000_000, 1_000_000)
    assert hold_of(tariff(flat), replace(ASKED, max_tokens=50), 100).micro_usd == 150
    assert hold_of(tariff(flat, max_output=20), replace(ASKED, max_tokens=50), 100).micro_usd == 120
    assert hold_of(tariff(flat, max_output=20), ASKED, 100).micro_usd == 120
    assert hold_of(tariff(flat, max_output=20), replace(ASKED, choices=3), 100).micro_usd == 160
    assert hold_of(tariff(flat, context=64), replace(ASKED, max_tokens=50), 100).micro_usd == 114
    assert hold_of(tariff(flat), ASKED, 100).output_tokens == 32_768
    assert hold_of(tariff(flat), replace(ASKED, max_tokens=50), 100).input_micro_usd == 50


def test_pictures_and_what_is_only_named_are_not_counted_by_their_bytes() -> None:
    flat = tariff(Rates(1_000_000, 0))

    def held(*media: Media) -> int:
        messages = Message("user", media), Message("tool", (ToolResult("c", media),))
        return hold_of(flat, replace(ASKED, messages=messages), 10_000).micro_usd

    assert held(Media("image", data="a" * 4000)) == 2 * IMAGE_TOKENS + 2000
    assert held(Media("image", url="https://x")) == 2 * IMAGE_TOKENS + 10_000
    assert held(Media("document", file_id="f")) == 2 * UNSEEN_TOKENS + 10_000
    assert hold_of(flat, replace(ASKED, extra={"previous_response_id": "r"}), 7).micro_usd == UNSEEN_TOKENS + 7


def bill(output: int = 1000) -> Bill:
    price = tariff(Rates(1_000_000, 10_000_000))
    return Bill(price, hold_of(price, replace(ASKED, max_tokens=output), 200))


@pytest.mark.parametrize(
    ("ending", "charge"),
    [
        (Ending(200, Usage(150, 10)), Charge(250)),
        (Ending(429, None), Charge(0)),
        (Ending(502, None, whole=False, tokens=9), Charge(0)),
        (Ending(499, None, asked=False), Charge(0)),  # left before anybody was asked
        (Ending(499, None), Charge(100, estimated=True)),  # left before the answer: the likely prompt
        (Ending(499, None, whole=False, tokens=20), Charge(302, estimated=True)),
        (Ending(200, None, whole=False, tokens=10**9), Charge(10_200, estimated=True)),  # never above the hold
        (Ending(200, None, tokens=20), Charge(302, estimated=True)),  # whole, and no word on usage
        (Ending(499, Usage(150, 1), whole=False, tokens=20), Charge(350, estimated=True)),
        (Ending(499, Usage(150, 30), whole=False, tokens=20), Charge(450, estimated=True)),
        (Ending(499, Usage(150, 30), whole=True, tokens=20), Charge(450)),  # read to its end for one who left
    ],
)
def test_what_a_call_comes_to(ending: Ending, charge: Charge) -> None:
    assert bill().charge(ending) == charge


def test_of_a_cut_stream_the_framing_is_not_counted_as_text() -> None:
    """500 events of one token each, in 200 bytes: far less than a fourth of all bytes, and never less than one each."""
    assert 500 <= tokens_left(500 * 200 + 500 * 4, 500, 201) <= 1500
    assert tokens_left(4000, 0, 0) == 1000
    assert tokens_left(0, 0, 0) == 0


def test_a_reservation_is_for_the_dearest_candidate_and_names_the_one_without_a_price() -> None:
    cheap, dear = bill(10), bill(1000)
    assert reservation("t", 5, (cheap, dear), ("a", "b")).micro_usd == dear.hold.micro_usd
    wanted = reservation("t", 5, (cheap, None), ("a", "b"))
    assert wanted.micro_usd is None and wanted.unpriced == "b"


@pytest.mark.parametrize("text", ["0", "-1", "0.0000001", "1000000.000001", "nan", "inf", "1e99", "five", "", "1" * 99])
def test_a_sum_is_exact_or_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_usd(text, "usd")


def test_sums_are_written_as_people_do() -> None:
    assert parse_usd("5.25", "usd") == 5_250_000 and parse_usd("1e-6", "usd") == 1
    assert [usd_text(each) for each in (1_500_000, 1, -250_000, 12_345_678)] == [
        "$1.50", "$0.000001", "-$0.25", "$12.345678",
    ]  # fmt: skip
    assert json.dumps([usd(1_234_567), usd(5_000_000)]) == "[1.234567, 5.0]"


# The list.


def configured(prices: dict[str, Any], **models: Any) -> Config:
    document = {
        "providers": [{"id": "mine", "family": "vllm"}, {"id": "openai", "family": "openai"}],
        "models": [
            {"id": "a", "provider": "openai", "upstream_model": "gpt-x"},
            {"id": "b", "providers": ["mine", "openai"], "upstream_model": "gpt-x"},
            {"id": "c", "provider": "openai", "upstream_model": "gpt-unknown"},
        ],
        "prices": prices,
    }
    return decode_config(document, {})


def test_the_operators_price_wins_then_the_provider_then_its_family(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(LIST))
    own = [{"id": "a", "input": 5, "output": 6}, {"id": "b", "provider": "openai", "input": 7, "output": 8}]
    tariffs = configured({"file": str(file), "margin_basis_points": 250, "models": own}).prices.tariffs
    assert tariffs["a", "openai"] == Tariff(Price(Rates(5, 6)), 250)
    assert tariffs["b", "mine"].price.rates == Rates(1, 2)
    assert tariffs["b", "openai"].price.rates == Rates(7, 8)
    assert ("c", "openai") not in tariffs  # unknown, not free
    assert configured({"file": str(file)}).prices.tariffs["a", "openai"].price.rates.input == 2_500_000


def test_whatever_changes_a_price_changes_the_attested_digest(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    digests = set()
    for row in (1, 2):
        file.write_text(json.dumps(LIST | {"version": str(row)}))
        for margin in (0, 1):
            for own in ([], [{"id": "a", "input": 5, "output": 6}]):
                prices = {"file": str(file), "margin_basis_points": margin, "models": own}
                digests.add(configured(prices).digests()["prices"])
    assert len(digests) == 8


def test_a_list_must_be_signed_where_keys_are_configured(tmp_path: Path) -> None:
    key, file = SigningKey(bytes(32)), tmp_path / "prices.json"
    table = {"file": str(file), "keys": [bytes(key.verify_key).hex()]}
    file.write_bytes(seal_envelope(json.dumps(LIST).encode(), PAYLOAD_TYPE, [key]))
    book = configured(table).prices
    assert book.listed.version == "7" and book.signers == (bytes(key.verify_key).hex(),)
    file.write_bytes(seal_envelope(json.dumps(LIST).encode(), PAYLOAD_TYPE, [SigningKey(b"1" * 32)]))
    with pytest.raises(Malformed, match="signatures"):
        configured(table)
    file.write_text(json.dumps(LIST))
    with pytest.raises(Malformed, match=r"config\.prices\.file"):
        configured(table)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currency": "EUR"}, "currency"),
        ({"date": "yesterday"}, "date"),
        ({"version": ""}, "version"),
        ({"format": "x"}, "format"),
        ({"more": 1}, "more"),
        ({"prices": [*LIST["prices"], LIST["prices"][0]]}, "prices[2]"),
        ({"prices": [{"provider": "a", "model": "b", "input": 1}]}, "prices[0].output"),
        ({"prices": [{"provider": "a", "model": "b", "input": 1.5, "output": 1}]}, "prices[0].input"),
        ({"prices": [{"provider": "a", "model": "b", "input": -1, "output": 1}]}, "prices[0].input"),
        ({"prices": [{"provider": "a", "model": "", "input": 1, "output": 1}]}, "prices[0]"),
        ({"prices": [{"provider": "a", "model": "b", "input": 1, "output": 1, "above": [{"input": 1, "output": 1}]}]},
         "prices[0].above[0].prompt_tokens"),
    ],
)  # fmt: skip
def test_a_list_with_a_fault_says_where(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Malformed, match="^" + re.escape(f"list.{field}")):
        parse_price_list(json.dumps(LIST | change).encode(), None, "list")


@pytest.mark.parametrize(
    "prices",
    [
        {"keys": ["00" * 32]},
        {"file": "/nowhere/at/all"},
        {"margin_basis_points": -1},
        {"models": [{"id": "nobody", "input": 1, "output": 1}]},
        {"models": [{"id": "a", "input": 1, "output": 1}] * 2},
        {"unknown": 1},
    ],
)
def test_a_configuration_with_a_fault_is_refused(prices: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"^config\.prices"):
        configured(prices)


def test_keys_that_are_no_keys_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(LIST))
    for key in ("zz", "00"):
        with pytest.raises(Malformed):
            configured({"file": str(file), "keys": [key]})


def test_the_list_of_this_build_is_dated_and_its_rows_survive_a_round_trip() -> None:
    listed = built_in_list()
    assert listed.date >= "2026-01-01" and "genai-prices" in listed.version
    assert len(listed.prices) > 500
    assert listed.prices["openai", "gpt-4o"].rates == Rates(2_500_000, 10_000_000, 1_250_000)
    for price in listed.prices.values():
        assert decode_price(encode_price(price), "row") == price


def test_signers_of_a_list_are_those_of_its_kind() -> None:
    """A manifest of a release, signed by the same key, is no price list."""
    key = SigningKey(bytes(32))
    raw = seal_envelope(json.dumps(LIST).encode(), "application/vnd.in-toto+json", [key])
    with pytest.raises(Malformed, match="payloadType"):
        parse_price_list(raw, Signers((bytes(key.verify_key),), 1), "list")
