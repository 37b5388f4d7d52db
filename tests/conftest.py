"""Where the shared vectors are, and what happens where they are not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def vectors() -> Path:
    return find_vectors()


def find_vectors() -> Path:
    """The folder of shared vectors; skips, or fails where SAFEROUTER_REQUIRE_VECTORS=1."""
    folder = Path(os.environ.get("SAFEROUTER_VECTORS", ROOT.parent / "shared" / "vectors"))
    if not (folder / "MANIFEST.json").is_file():
        reason = f"no vectors at {folder}: set SAFEROUTER_VECTORS"
        if os.environ.get("SAFEROUTER_REQUIRE_VECTORS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "MANIFEST.json").read_text())
    return manifest
