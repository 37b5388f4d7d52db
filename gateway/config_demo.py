"""The configuration of a gateway without a file: its own mock provider, to try things out."""

from __future__ import annotations

from typing import Any

_DEMO_MODELS = ("reasoner", "text", "503", "429", "cut", "stall", "slow")


def demo_document() -> dict[str, Any]:
    """One provider, and a model for each of its ways."""
    return {
        "providers": [{"id": "mock", "family": "mock"}],
        "models": [
            {"id": "mock-1", "provider": "mock", "aliases": ["demo"]},
            *({"id": f"mock-{name}", "provider": "mock"} for name in _DEMO_MODELS),
        ],
        # What a demo costs is as much a mock as who answers it.
        "prices": {
            "models": [
                {"id": f"mock-{name}", "input": 1_000_000, "output": 2_000_000, "max_output": 4096}
                for name in ("1", *_DEMO_MODELS)
            ]
        },
    }
