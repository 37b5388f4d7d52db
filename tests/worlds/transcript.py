"""The browser's verifier in a node process, and the words to compare it with tee."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tee.errors import Malformed
from tee.evidence import Verdict

Json = dict[str, Any]
Ask = Callable[[Json], Json]
TRANSCRIPT = Path(__file__).parent.parent / "web" / "transcript.mjs"
MUTATIONS = 300


@contextmanager
def browser_core() -> Iterator[Ask]:
    """One node process for the whole module: a line in, a line out."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    with subprocess.Popen([node, TRANSCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def exchange(request: Json) -> Json:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            answer: Json = json.loads(stdout.readline())
            return answer

        yield exchange
        stdin.close()


def as_document(verdict: Verdict) -> Json:
    return verdict.to_json() | {"required": sorted(verdict.required), "sentence": verdict.sentence()}


def or_malformed(answer: Callable[[], Json]) -> Json:
    try:
        return answer()
    except Malformed as error:
        return {"malformed": error.field, "found": error.found, "wanted": error.wanted}


def b64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def with_changed_byte(raw: bytes, chance: random.Random, within: int | None = None) -> bytes:
    at = chance.randrange(min(len(raw), within or len(raw)))
    return raw[:at] + bytes([raw[at] ^ chance.randrange(1, 256)]) + raw[at + 1 :]
