"""The examples of docs/money.md are true as they are written."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from nacl.signing import SigningKey

from gateway.config import decode_config
from gateway.inference import Usage
from gateway.money.price_list import PAYLOAD_TYPE, parse_price_list
from gateway.money.pricing import Price, Rates, Tariff
from tee.measure.envelope import seal_envelope
from tests.worlds.gateway import run_cli

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "money.md").read_text()


def examples(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_configuration_and_the_list_are_read_as_they_stand(tmp_path: Path) -> None:
    (settings,), (listed,) = examples("toml"), examples("json")
    assert parse_price_list(listed.encode(), None, "list").version == "7"
    signer, file = SigningKey(bytes(32)), tmp_path / "prices.json"
    file.write_bytes(seal_envelope(listed.encode(), PAYLOAD_TYPE, [signer]))
    prices = tomllib.loads(settings)["prices"]
    document = {
        "providers": [
            {"id": "openai", "family": "openai"},
            {"id": "azure-eu", "family": "openai", "base_url": "https://eu.example/v1"},
        ],
        "models": [
            {"id": "house-model", "provider": "openai"},
            {"id": "gpt", "providers": ["openai", "azure-eu"], "upstream_model": "gpt-4o"},
        ],
        "prices": prices | {"file": str(file), "keys": [bytes(signer.verify_key).hex()]},
    }
    book = decode_config(document, {}).prices
    assert len(prices["keys"]) == 1 and len(bytes.fromhex(prices["keys"][0])) == 32
    assert book.margin == 500 and book.tariffs["house-model", "openai"].price.max_output == 8192
    assert book.tariffs["gpt", "openai"].price.rates == Rates(2_500_000, 10_000_000, 1_250_000)
    assert book.tariffs["gpt", "azure-eu"].price.rates_for(200_001).input == 5_500_000


def test_the_sum_is_right() -> None:
    assert "4,725 micro-USD, $0.004725" in PAGE
    assert Tariff(Price(Rates(3_000_000, 15_000_000)), 500).cost(Usage(1000, 100)) == 4725


def test_the_commands_are_there(tmp_path: Path) -> None:
    environ = {"SAFEROUTER_STATE": str(tmp_path / "state")}
    commands = [line.split() for block in examples("sh") for line in block.splitlines()]
    assert [command[1:3] for command in commands] == [["credits", "topup"], ["credits", "show"], ["ledger", "check"]]
    top_up, show, check = commands
    assert "There is no key" in run_cli("credits", "topup", "key-1f00", *top_up[4:5], environ=environ).stderr
    assert "is not prepaid" in run_cli(*show[1:], environ=environ).stdout
    assert run_cli(*check[1:], environ=environ).returncode == 0
    shown = json.loads(run_cli("prices", "show", "--json", environ=environ).stdout)
    assert shown["margin_basis_points"] == 0 and shown["digest"].startswith("sha256:")
    assert run_cli("prices", "check", environ=environ).returncode == 0
