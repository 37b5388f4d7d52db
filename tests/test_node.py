"""The tests of the browser's code, under node: one run of `node --test tests/web/*.test.mjs`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.conftest import ROOT


def test_the_tests_of_the_browser_verifier_pass() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "web").glob("*.test.mjs"))
    command = [node, "--test", "--test-reporter=spec", *files]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        head, mark, failing = run.stdout.rpartition("failing tests:")
        pytest.fail(f"{mark}{failing if mark else head}\n{run.stderr}", pytrace=False)
