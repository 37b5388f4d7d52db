"""What a witness is asked to cosign, and whether it may (C2SP tlog-witness; SPEC §15.11). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tee.canonical import shown
from tee.errors import Malformed
from tee.log.checkpoint import SignedCheckpoint, open_checkpoint, parse_checkpoint, parse_size
from tee.log.merkle import EMPTY_ROOT, HASH_SIZE, MAX_PROOF_HASHES, verify_consistency
from tee.log.note import MAX_NOTE_SIZE, NoteKey, signatures_by
from tee.quote import decode_base64

MAX_SUBMISSION_SIZE = MAX_NOTE_SIZE + 45 * MAX_PROOF_HASHES + 32  # a hash is 44 characters and a line break
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class SeenTree:
    """The largest tree of a log that was cosigned: nothing at first."""

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class Submission:
    """A body of `add-checkpoint`, whose checkpoint is signed by a log that this witness knows."""

    old: int
    proof: tuple[bytes, ...]
    signed: SignedCheckpoint


class Refused(Exception):
    """Why a submission is not cosigned: the HTTP status of the answer, and its body."""

    def __init__(self, status: int, body: str, content_type: str = "text/plain; charset=utf-8") -> None:
        self.status, self.body, self.content_type = status, body + "\n", content_type
        super().__init__(body)


def origin_digest(origin: str) -> str:
    """How a monitor names a log to a witness: hex of SHA-256 over its origin."""
    return hashlib.sha256(origin.encode()).hexdigest()


def parse_submission(body: bytes, logs: Mapping[str, NoteKey]) -> Submission:
    """A submission from its body; `logs` by origin. Raises Refused with 400, 404 or 403."""
    head, gap, raw = body.partition(b"\n\n")
    try:
        if not gap:
            raise Malformed("body", "no empty line", "old SIZE, hashes, an empty line and a checkpoint")
        lines = head.decode("ascii", "replace").split("\n")
        old, proof = _parse_old(lines[0]), tuple(_parse_hash(line) for line in lines[1:])
        if len(proof) > MAX_PROOF_HASHES:
            raise Malformed("consistency proof", f"{len(proof)} hashes", f"at most {MAX_PROOF_HASHES}")
        origin = parse_checkpoint(raw, "checkpoint").checkpoint.origin
    except Malformed as error:
        raise Refused(400, str(error)) from None
    if origin not in logs:
        raise Refused(404, f"no log of this witness has the origin {shown(origin)}")
    try:
        signed = open_checkpoint(raw, logs[origin], "checkpoint")
    except Malformed as error:
        raise Refused(403, str(error)) from None
    own = tuple(signatures_by(signed.note, logs[origin]))  # lines of strangers are neither kept nor served
    return Submission(old, proof, replace(signed, note=replace(signed.note, signatures=own)))


def require_extension(seen: SeenTree, submission: Submission) -> None:
    """That the submitted tree extends the one that was cosigned last. Raises Refused with 400, 409 or 422.

    The answer holds only while `seen` does: whoever cosigns must still find it in place when he records the new tree.
    """
    new = submission.signed.checkpoint
    if submission.old > new.size:
        raise Refused(400, f"old {submission.old} is more than the checkpoint's {new.size} leaves")
    if submission.old != seen.size:
        raise Refused(409, str(seen.size), SIZE_TYPE)
    if new.size == seen.size and new.root != seen.root:  # two trees of one size: a split view
        raise Refused(409, str(seen.size), SIZE_TYPE)
    try:
        verify_consistency(seen.size, seen.root, new.size, new.root, submission.proof, from_empty=True)
    except Malformed as error:
        raise Refused(422, str(error)) from None


def _parse_old(line: str) -> int:
    if not line.startswith("old "):
        raise Malformed("first line", shown(line), "old SIZE")
    return parse_size(line.removeprefix("old "), "old size")


def _parse_hash(line: str) -> bytes:
    value = decode_base64(line, "consistency proof")
    if len(value) != HASH_SIZE:
        raise Malformed("consistency proof", f"a hash of {len(value)} bytes", f"{HASH_SIZE} bytes")
    return value
