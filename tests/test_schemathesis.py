"""Schemathesis reads the OpenAPI document and sends what nobody thought of: by a fixed seed, a bounded number."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.gateway import RunningGateway

TOOL = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "ignored_auth", "unsupported_method"),
)
EXAMPLES = 5  # of each operation, beside those at the bounds of each member, which are more


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("schemathesis") / "state", chip=chip_file) as running:
        yield running


@pytest.mark.parametrize("caller", ["key", "operator"])
def test_whatever_is_sent_is_answered_as_the_document_says(
    caller: str, gateway: RunningGateway, tmp_path: Path
) -> None:
    """In a process of its own: its plugin would be part of every test here."""
    secret = gateway.api_key if caller == "key" else str(gateway.demo["admin_token"])
    chosen = ["--include-path-regex", "^/admin/"] if caller == "operator" else ["--exclude-path-regex", "^/admin/"]
    command = [
        *(str(TOOL), "run", f"{gateway.url}/openapi.json", "--header", f"Authorization: Bearer {secret}", *chosen),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES)),
        *("--seed", "1", "--no-shrink", "--continue-on-failure", "--warnings", "off", "--request-timeout", "60"),
        *("--suppress-health-check", "all", "--generation-database", "none", "--no-color"),
    ]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path, env={**os.environ, "CI": "1"}
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
    assert "unexpected" not in gateway.log.read_text()
