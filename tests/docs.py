"""`python -m tests.docs` writes the pages that tests make: docs/dialects.md and docs/requirements.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.connectors.catalog import FAMILIES
from gateway.languages import SERVICES
from tests.features import ANSWERS, PATHS, QUESTIONS, SHOWN, subjects

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs"
WANTED = (*range(89, 131), *range(176, 267))
"""The requirements of which each must have a test, or a reason why it has none."""
NOT_YET: dict[int, str] = {}
"""Those without a test, and why."""

_DIALECTS = """# What can be said to whom

Each row is a family of `gateway/connectors/catalog.py`, asked for the model that is named, in the language that is
named; each cell is what a probe of `tests/features.py` found when it asked. `make docs` writes this page, and
`tests/test_docs.py` fails where it is not what the code does. That real providers answer so is shown by
`tests/test_fixtures.py`, which plays every recorded answer to every kind of client.

"""
_CHATS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions")
_REQUIREMENTS = """# Requirements and their tests

Which tests show which numbered requirement: those that name it in their docstring. `make docs` writes this page, and
`tests/test_docs.py` fails where it is stale, or where a requirement from R89 to R130 or from R176 to R266 has neither a
test nor a reason.

| | tests |
|---|---|
"""
_NUMBER = re.compile(r"\bR(\d{1,3})(?:(?:\u2013|-| to )R?(\d{1,3}))?\b")


def dialects_page() -> str:
    """docs/dialects.md: a table for each side of a call, families in rows and features in columns."""
    found = subjects()
    languages = {"model": lambda one: f"`{one.model}`", "language": lambda one: f"`{FAMILIES[one.family].dialect}`"}
    parts = [_DIALECTS, _table("family", [(one.family, one) for one in found], languages)]
    for title, probes in (("What is asked", QUESTIONS), ("What is answered", ANSWERS), ("Other paths", PATHS)):
        parts.append(_section(title, probes) + _table("family", [(one.family, one) for one in found], probes))
    surfaces = [(f"`{path}`", SERVICES[path].surface) for path in _CHATS]
    return "".join(parts) + _section("What clients are shown", SHOWN) + _table("path", surfaces, SHOWN)


def _section(title: str, probes: Mapping[str, Callable[[Any], str]]) -> str:
    meanings = "".join(f"- **{name}**: {_meaning(probe.__doc__)}\n" for name, probe in probes.items())
    return f"\n## {title}\n\n{meanings}\n"


def _table(head: str, rows: Sequence[tuple[str, Any]], probes: Mapping[str, Callable[[Any], str]]) -> str:
    lines = [[head, *probes], ["---"] * (1 + len(probes))]
    lines += [[name, *(probe(row) for probe in probes.values())] for name, row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def requirements_page() -> str:
    """docs/requirements.md."""
    by_number = requirements()
    rows = []
    for number in sorted({*by_number, *WANTED}):
        tests = by_number.get(number)
        rows.append(f"| R{number} | {', '.join(tests) if tests else NOT_YET.get(number, '')} |\n")
    return _REQUIREMENTS + "".join(rows)


def requirements() -> dict[int, list[str]]:
    """Tests by the requirements that their docstrings name."""
    found: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in numbers(ast.get_docstring(node) or ""):
                    found.setdefault(number, []).append(f"`{path.stem}.{node.name}`")
    return found


def numbers(words: str) -> list[int]:
    """The requirements that a docstring names, ranges spelled out."""
    found: set[int] = set()
    for first, last in _NUMBER.findall(words):
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def pages() -> dict[Path, str]:
    """What stands in each page."""
    return {PAGES / "dialects.md": dialects_page(), PAGES / "requirements.md": requirements_page()}


def _meaning(docstring: str | None) -> str:
    first = (docstring or "").strip().split("\n")[0]
    return first[0].lower() + first[1:].rstrip(".")


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for page, written in pages().items():
        page.write_text(written)
        print(page.relative_to(ROOT))
