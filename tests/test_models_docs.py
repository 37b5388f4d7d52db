"""The examples of docs/models.md run as they are written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.connectors.catalog import FAMILIES
from tests.worlds.canned import CLAUDE
from tests.worlds.upstream import Recording, scripted_upstream

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "models.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[number], f"docs/models.md, example {number + 1}", "exec"), names)
    return names


def test_there_are_three() -> None:
    """R264, R265, R266."""
    assert len(EXAMPLES) == 3


def test_the_mock_streams(capsys: pytest.CaptureFixture[str]) -> None:
    """R264: emissions are consumed, and Done carries stop and usage."""
    run(0)
    text, end = capsys.readouterr().out.splitlines()
    assert "hello" in text and end.startswith("stop: complete usage: Usage(input_tokens=")


def test_a_whole_answer_and_its_cost(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """R265: the options arrive, and the price is that of the card."""
    with scripted_upstream() as provider:
        monkeypatch.setitem(FAMILIES, "anthropic", replace(FAMILIES["anthropic"], base_url=provider.base_url[:-3]))
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-example")
        provider.play(Recording(CLAUDE.replace(b"STOP", b"end_turn")))
        run(1)
        assert b'"max_tokens":512' in provider.got.body and b'"model":"claude-sonnet-4-6"' in provider.got.body
        assert provider.got.header("x-api-key") == "sk-of-the-example"
    word, cost, unit = capsys.readouterr().out.split()
    assert (word, unit) == ("complete", "USD")
    assert float(cost) == pytest.approx((5 * 3.0 + 3 * 15.0 + 2 * 0.3) / 1_000_000)


def test_the_catalog_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """R266."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    run(2)
    assert capsys.readouterr().out == "['claude-opus-4', 'claude-sonnet-4'] o3\nTrue S256\n"
