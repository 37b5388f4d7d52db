"""The environment, for what reads variables that no configuration names."""

from __future__ import annotations

import os
from collections.abc import Mapping


def read_variable(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The variable without the space around it; one that is empty counts as absent. Read each time, never kept."""
    return environ.get(name, "").strip() or None
