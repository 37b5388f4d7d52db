"""The page shows who vouches for the boot image of a gateway with a NitroTPM, as the CLI does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import NewPage
from tests.web.reading import choose_policy, outcomes, verify
from tests.worlds.gateway import RunningGateway, run_cli
from tests.worlds.nitro import boot, boot_image, install_nitrotpm

CONFIG = """
platform_evidence = ["nitrotpm"]
[[providers]]
family = "mock"
[[models]]
id = "mock-1"
provider = "mock"
"""


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nitro-page") / "tpm"
    install_nitrotpm(folder, "image 1")
    return folder


@pytest.fixture(scope="module")
def live(tpm: Path, chip_file: Path) -> Iterator[RunningGateway]:
    environ = {"PATH": f"{tpm}:{os.environ['PATH']}"}
    with RunningGateway(tpm.parent / "state", config=CONFIG, chip=chip_file, environ=environ) as running:
        yield running


@pytest.mark.parametrize(("image", "word"), [("image 1", "verified"), ("image 2", "rejected")])
def test_the_image_is_judged_as_in_the_cli(
    new_page: NewPage, live: RunningGateway, tpm: Path, tmp_path: Path, image: str, word: str
) -> None:
    measurement = json.loads(live.policy.with_suffix(".json").read_text())["measurements"]
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"firmware_measurements": measurement, "boot_images": [boot_image("image 1")]}))
    boot(tpm, image)
    page = new_page(allowed=(live.url,))
    page.get_by_label("Gateway URL").fill(live.url)
    choose_policy(page, policy.read_bytes())
    page.get_by_label("Accept a mock").set_checked(True)
    result = verify(page)
    cli: dict[str, Any] = json.loads(run_cli("verify", live.url, "--policy", policy, "--accept-mock", "--json").stdout)
    boot(tpm, "image 1")
    assert (result["verdict"], cli["verdict"]) == (word, word)
    assert outcomes(result) == {check["id"]: check["outcome"] for check in cli["checks"]}
    assert result["questions"]["build"] == ("mock" if word == "verified" else "fail")
    if word == "verified":
        assert page.get_by_text("vouched for by AWS NitroTPM, not by AMD").first.is_visible()
    assert page.locator("[data-raw='platform_evidence.json']").count() == 1
