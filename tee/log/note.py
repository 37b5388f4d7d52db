"""Signed notes of C2SP: a text and the signatures below it, and the keys that verify them (SPEC §15.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from tee.canonical import shown
from tee.errors import Malformed
from tee.keys.identity import verify_ed25519

MAX_NOTE_SIZE = 64 << 10  # a checkpoint with a hundred signatures
MAX_SIGNATURES = 100
_DASH = "— "
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,256}")


class KeyType(IntEnum):
    """Signature types of C2SP signed-note that this release verifies."""

    ED25519 = 1  # a log's own signature over the text
    COSIGNATURE_V1 = 4  # a witness's timestamped signature


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A verifying key (`vkey`): whose it is, what it signs, and its Ed25519 public key, 32 bytes."""

    name: str
    kind: KeyType
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key on a signature line. They are a hint: keys may share them."""
        body = bytes([self.kind]) + self.public_key
        return hashlib.sha256(self.name.encode() + b"\n" + body).digest()[:4]

    def encode(self) -> str:
        """`name+<key id, hex>+<base64 of type and key>`."""
        body = base64.b64encode(bytes([self.kind]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{body}"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line below a note: name, key id (4 bytes) and the signature's own bytes."""

    name: str
    key_id: bytes
    blob: bytes

    def encode(self) -> str:
        """The line, with its line break."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note. `text` ends with a line break; no signature is verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return (self.text + "\n" + "".join(line.encode() for line in self.signatures)).encode()


def parse_note_key(text: str, field: str) -> NoteKey:
    """A verifying key from its `vkey` line. Raises Malformed, also for a key id that is not the key's own."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise Malformed(field, shown(text), "NAME+KEY ID+KEY, a C2SP verifying key")
    raw = _base64(parts[2], field)
    if len(raw) != 33 or raw[0] not in list(KeyType):
        raise Malformed(field, f"{len(raw)} bytes of key", "an Ed25519 key of type 1 or 4, 33 bytes")
    key = NoteKey(parts[0], KeyType(raw[0]), raw[1:])
    if parts[1] != key.key_id.hex():
        raise Malformed(field, f"key id {shown(parts[1])}", f"{key.key_id.hex()}, which belongs to this key")
    return key


def parse_note(raw: bytes, field: str) -> Note:
    """A note from its bytes; what does not encode to the same bytes again is refused. Raises Malformed."""
    if len(raw) > MAX_NOTE_SIZE:
        raise Malformed(field, f"{len(raw)} bytes", f"at most {MAX_NOTE_SIZE}")
    try:
        whole = raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed(field, f"invalid UTF-8 at byte {error.start}", "UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise Malformed(field, "a control character", "text")
    text, gap, tail = whole.rpartition("\n\n")
    lines = tail.split("\n")
    if not gap or not text or lines.pop() != "":
        raise Malformed(field, "no signature lines", "a text, an empty line, and signature lines")
    if not 1 <= len(lines) <= MAX_SIGNATURES:
        raise Malformed(field, f"{len(lines)} signature lines", f"1 to {MAX_SIGNATURES}")
    return Note(text + "\n", tuple(_parse_signature(line, field) for line in lines))


def _parse_signature(line: str, field: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not _NAME.fullmatch(name):
        raise Malformed(field, shown(line), "a signature line: a dash, a name, base64")
    raw = _base64(encoded, field)
    if len(raw) <= 4:
        raise Malformed(field, f"a signature of {len(raw)} bytes", "a key id of 4 bytes and a signature")
    return NoteSignature(name, raw[:4], raw[4:])


def signatures_by(note: Note, key: NoteKey) -> list[NoteSignature]:
    """The lines that claim to be of this key."""
    return [line for line in note.signatures if line.name == key.name and line.key_id == key.key_id]


def verify_note(note: Note, keys: Sequence[NoteKey], field: str) -> list[NoteKey]:
    """Which of these log keys signed the note. Raises Malformed if a line of one of them does not verify.

    Lines of other keys are ignored.
    """
    signed = []
    for key in keys:
        lines = signatures_by(note, key)
        for line in lines:
            if not verify_ed25519(key.public_key, line.blob, note.text.encode()):
                raise Malformed(field, f"a bad signature by {key.name}", "a good signature, or none by this key")
        if lines:
            signed.append(key)
    return signed


def sign_note(text: str, key: NoteKey, sign: Callable[[bytes], bytes]) -> NoteSignature:
    """The signature line of a log key; `sign` makes its Ed25519 signature over the text."""
    return NoteSignature(key.name, key.key_id, sign(text.encode()))


def _base64(text: str, field: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise Malformed(field, shown(text), "standard base64, canonical, with padding")
    return raw
