"""docs/tenants.md: its commands run as written, one after the other, against a gateway."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.gateway import COMMAND, RunningGateway

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "tenants.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, chip_file: Path) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("docs") / "state", chip=chip_file) as running:
        yield running


def test_the_commands_of_the_page(gateway: RunningGateway, tmp_path: Path) -> None:
    assert len(BLOCKS) == 4
    environ = {
        **os.environ,
        "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
        "URL": gateway.url,
        "ADMIN_TOKEN": gateway.demo["admin_token"],
        "SAFEROUTER_STATE": str(gateway.state),
    }
    for block in BLOCKS:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    first = (tmp_path / "first.key").read_text().strip()
    with gateway.client(first) as client:
        made = {row["name"]: row for row in client.get("/v1/keys").json()["data"]}  # both may be of one second
    ci = made["nightly"]
    assert (len(made), ci["scopes"], ci["revoked_at"] is not None) == (2, ["inference"], True)
    assert json.loads((tmp_path / "ci.json").read_text())["tenant"] == "globex"
