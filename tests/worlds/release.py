"""A release's owner: a key, signed manifests, a log in a folder, and a static server that shows it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from tee.canonical import encode_canonical
from tee.measure.envelope import seal_envelope
from tee.measure.manifest import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE
from tests.worlds.gateway import run_cli

ORIGIN = "owner.example/releases"


def manifest(*measurements: str, version: str = "1.0", covers: str = "workload", images: Any = ()) -> bytes:
    """A signed manifest that releases these measurements."""
    row = {"platform": "qemu", "covers": covers, "machine": None, "vcpus": None, "recipe": None}
    predicate = {
        "version": 1,
        "release": {"name": "saferouter", "version": version},
        "sequence": 1,
        "expires": 4_000_000_000,
        "previous": None,
        "source": {"repo_url": "https://git.example.com/saferouter", "repo_commit": "0" * 40},
        "build": {"source_digest": "sha256:" + "5" * 64, "image_digest": None},
        "measurements": [row | {"value": value, "valid_from": None, "note": None} for value in measurements],
        "boot_images": list(images),
        "tcb_floor": {},
        "retired": [],
    }
    digests = {"sha256": "1" * 64, "sha384": "2" * 96}
    subject = [{"name": "image", "digest": digests}]
    statement = {"_type": STATEMENT_TYPE, "predicateType": PREDICATE_TYPE, "subject": subject, "predicate": predicate}
    return seal_envelope(encode_canonical(statement), PAYLOAD_TYPE, [SigningKey(b"\x09" * 32)])


@dataclass
class ReleaseOwner:
    """Somebody with a laptop: `folder` goes to a web server, `key` does not."""

    home: Path
    vkey: str = ""

    def __post_init__(self) -> None:
        self.vkey = run_cli("log", "new-key", self.key, "--origin", ORIGIN).stdout.strip()

    @property
    def key(self) -> Path:
        return self.home / "release-log.key"

    @property
    def folder(self) -> Path:
        return self.home / "public" / "releases"

    def run(self, command: str, *options: str | Path) -> Any:
        """`announce` or `retire`: what the command said, as JSON; with exit code and words where it failed."""
        done = run_cli("log", command, "--folder", self.folder, "--key", self.key, "--json", *options)
        return json.loads(done.stdout) if done.returncode == 0 else (done.returncode, done.stderr)

    def announce(self, raw: bytes, *options: str | Path) -> Any:
        path = self.home / "manifest.json"
        path.write_bytes(raw)
        return self.run("announce", "--manifest", path, *options)

    @contextmanager
    def served(self) -> Iterator[str]:
        """The log's URL at a server of static files."""

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Tests print nothing."""

        handler = partial(Quiet, directory=str(self.folder.parent))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/{self.folder.name}"
            finally:
                server.shutdown()
                thread.join()
