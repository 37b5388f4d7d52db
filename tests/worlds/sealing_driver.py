"""Runs in a process of its own under the shim: what a gateway's start makes of its sealed identity."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gateway.config import decode_config
from gateway.sealing import choose_sealing, load_key
from tee.errors import TeeError

MODELS = {"providers": [{"id": "mock", "family": "mock"}], "models": [{"id": "m", "provider": "mock"}]}


def main(folder: str, sealing: str) -> None:
    """`sealing` is the configuration's table, in JSON."""
    answer: dict[str, Any] = {}
    try:
        config = decode_config({**MODELS, "state": folder, "sealing": json.loads(sealing)}, {})
        chosen = choose_sealing(config, "sev_snp")
        answer = {"reason": chosen.reason}
        answer["seed"] = bytes(load_key(Path(folder), "identity", chosen)).hex()
    except TeeError as error:
        answer |= {"error": type(error).__name__, "text": str(error)}
    print(json.dumps(answer))


main(*sys.argv[1:])
