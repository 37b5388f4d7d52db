"""Step 2, scan: credentials in prompts. Nothing is scanned yet, and every route record says so."""

from __future__ import annotations

from gateway.inference import InferenceRequest

NOT_CHECKED = "not_checked"


def scan(_request: InferenceRequest) -> str:
    """The word for the route record. Until the scan is built there is only one."""
    return NOT_CHECKED
