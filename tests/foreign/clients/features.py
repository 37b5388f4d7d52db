"""What every client is asked for, and how its program says what came: one line of JSON for each feature."""

import json
import os
import subprocess
import traceback

BASE = os.environ["GATEWAY_URL"]
KEY = os.environ["GATEWAY_KEY"]
ANSWER = "This is a mock answer. You said: hello"
SUNNY = "sunny"


def run(**features):
    """Run each feature, whatever becomes of the others; a function returns what it saw."""
    for name, feature in features.items():
        try:
            saw, ok = feature(), True
        except Exception as error:  # a foreign library may raise anything, and the next feature is still of interest
            saw, ok = f"{type(error).__name__}: {error}", False
            traceback.print_exc()
        print(json.dumps({"feature": name, "ok": ok, "saw": str(saw)}), flush=True)


def same(found, wanted):
    """What was found, once it is what was wanted."""
    if found != wanted:
        raise ValueError(f"found {found!r}, wanted {wanted!r}")
    return found


def within(part, whole):
    """The whole, once it holds the part."""
    if part not in (whole or ""):
        raise ValueError(f"found {whole!r}, wanted {part!r} in it")
    return whole


def command(*words):
    """What a command prints, once it has ended well."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ValueError(f"exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def events(printed):
    """The JSON objects that a command printed, one on a line."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
