"""What a monitor keeps on disk: how far it read, every checkpoint that it saw, and evidence of what it found."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tee.canonical import parse_json
from tee.errors import Malformed, Unavailable
from tee.keys.identity import hex_bytes, require_members, text
from tee.log.checkpoint import Checkpoint, open_checkpoint
from tee.log.following import Distrusted, Followed
from tee.log.merkle import Frontier
from tee.log.note import parse_note_key
from tee.private_files import write_private
from tee.quote import decode_base64, encode_base64

STATE = "monitor.json"
CHECKPOINTS, EVIDENCE = "checkpoints", "evidence"


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a log was read, and the signed checkpoint at which that was."""

    followed: Followed
    checkpoint: Checkpoint
    raw: bytes


@dataclass(frozen=True, slots=True)
class Logbook:
    """The folder of one monitor of one log. Its checkpoints and its evidence are plain files, one note each."""

    folder: Path

    def load(self) -> Bookmark | None:
        """Where the last look ended; None before the first. Raises Unavailable for a broken file."""
        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            return _decode(path.read_bytes())
        except Malformed as error:
            reason = f"broken ({error}). Restore it, or start anew in another folder"
            raise Unavailable(str(path), reason, retryable=False) from None

    def save(self, followed: Followed, raw: bytes) -> None:
        """Go on from here the next time; durable before it returns."""
        document = {
            "vkey": followed.key.encode(),
            "checkpoint_b64": encode_base64(raw),
            "nodes_b64": [encode_base64(node) for node in followed.tree.nodes],
            "head": followed.head.hex(),
            "startup": followed.startup,
        }
        write_private(self.folder / STATE, json.dumps(document, indent=1).encode())

    def keep(self, raw: bytes) -> None:
        """Keep a checkpoint for ever, under its digest."""
        path = self.folder / CHECKPOINTS / f"{hashlib.sha256(raw).hexdigest()[:32]}.txt"
        if not path.exists():
            write_private(path, raw)

    def accuse(self, found: Distrusted, ours: bytes) -> None:
        """Keep what was found, the checkpoint that we hold and the one that we were shown."""
        name = hashlib.sha256(b"\0".join([found.words.encode(), ours, found.shown])).hexdigest()[:16]
        folder = self.folder / EVIDENCE / name
        for part, content in (("ours.txt", ours), ("shown.txt", found.shown), ("words.txt", found.words.encode())):
            write_private(folder / part, content)

    def evidence(self) -> list[Path]:
        """The folders of what was found, in this look or an earlier one, and not yet moved away by a person."""
        return sorted((self.folder / EVIDENCE).glob("*/words.txt"))


@contextmanager
def open_logbook(folder: Path) -> Iterator[Logbook]:
    """The logbook of this folder, for one monitor at a time. Raises Unavailable."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Logbook(folder)
    except BlockingIOError:
        raise Unavailable(str(folder), "another monitor is at work in it", retryable=True) from None
    except OSError as error:
        raise Unavailable(str(folder), error.strerror or "cannot be used", retryable=False) from None


def _decode(raw: bytes) -> Bookmark:
    document = parse_json(raw, STATE)
    require_members(document, {"vkey", "checkpoint_b64", "nodes_b64", "head", "startup"}, STATE, exact=True)
    key = parse_note_key(text(document["vkey"], f"{STATE}.vkey"), f"{STATE}.vkey")
    note = decode_base64(document["checkpoint_b64"], f"{STATE}.checkpoint_b64")
    checkpoint = open_checkpoint(note, key, f"{STATE}.checkpoint_b64").checkpoint
    if not isinstance(document["nodes_b64"], list) or not isinstance(document["startup"], dict | None):
        raise Malformed(STATE, "other members", "a list of nodes, and a startup body or null")
    nodes = tuple(decode_base64(node, f"{STATE}.nodes_b64") for node in document["nodes_b64"])
    tree = Frontier(checkpoint.size, nodes)
    if len(nodes) != checkpoint.size.bit_count() or tree.root() != checkpoint.root:
        raise Malformed(f"{STATE}.nodes_b64", "another tree", "that of the checkpoint")
    head = hex_bytes(document["head"], 32, f"{STATE}.head")
    return Bookmark(Followed(key, tree, head, document["startup"]), checkpoint, note)
