"""The page about foreign clients says what a run found, and names the versions that are pinned."""

from __future__ import annotations

from pathlib import Path

from tests.foreign.catalog import CLIENTS, SURFACES, Client, Environment
from tests.foreign.table import versions, write_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "clients.md"
CLIENT = Client("Some client", Environment("e", True, ("@a/b@1.2.0", "c@3")), "p.mjs", ("chat",), ("@a/b",), "A note.")


def test_each_outcome_has_its_word(tmp_path: Path) -> None:
    found: list[tuple[Client, str, str, bool | None]] = [
        (CLIENT, "chat", "answer", True),
        (CLIENT, "chat", "tools", False),
        (CLIENT, "chat", "embeddings", False),
        (CLIENT, "messages", "all", None),
    ]
    write_table(tmp_path / "docs" / "clients.md", found)
    page = (tmp_path / "docs" / "clients.md").read_text()
    beside = "embeddings (FAILED: embeddings)"
    assert f"| Some client | @a/b 1.2.0 | `/v1/chat/completions` | yes | - | FAILED | - | {beside} |" in page
    assert "| `/v1/messages` | not installed | not installed | not installed | not installed |  |" in page
    assert page.count("- **Some client**: A note.") == 1


def test_the_page_is_of_these_versions_and_nothing_failed() -> None:
    page = PAGE.read_text()
    for client in CLIENTS:
        for surface in client.surfaces:
            assert f"| {client.title} | {versions(client)} | `{SURFACES[surface]}` | " in page, "make foreign writes it"
    assert "FAILED" not in page
