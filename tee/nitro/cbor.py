"""A strict CBOR reader for the few shapes that NitroTPM documents use (SPEC §11.1, RFC 8949)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tee.errors import Malformed

MAX_DEPTH = 4  # a document is 3 deep; deeper input is an attack on the parser
MAX_SAFE_INTEGER = 2**53 - 1  # beyond it a JavaScript verifier would read another number
UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP = range(6)
OPEN_MAP, BREAK, NULL = 0xBF, 0xFF, 0xF6
WANTED = "integers, byte strings, text, arrays, maps and null, in their shortest form"

Item = Any


def parse_cbor(raw: bytes, field: str) -> Item:
    """The one item that `raw` consists of. Raises Malformed.

    Every length is definite, but for a map that is the outermost item: AWS writes its payload so. A map's keys are
    integers or text, each once. Tags, floats and simple values other than null are refused.
    """
    reader = _Reader(raw, field)
    item = reader.item(0)
    if reader.at != len(raw):
        raise Malformed(field, f"{len(raw) - reader.at} bytes after the item", "nothing after it")
    return item


@dataclass(slots=True)
class _Reader:
    raw: bytes
    field: str
    at: int = 0

    def item(self, depth: int) -> Item:
        if depth > MAX_DEPTH:
            raise Malformed(self.field, f"nesting beyond {MAX_DEPTH}", f"at most {MAX_DEPTH}")
        start, head = self.at, self.take(1)[0]
        if head == NULL:
            return None
        if head == OPEN_MAP and depth == 0:
            return self.members(None, depth)
        kind, value = head >> 5, self.argument(start, head)
        if kind == UNSIGNED:
            return value
        if kind == NEGATIVE:
            return -1 - value
        if kind == BYTES:
            return self.take(value)
        if kind == TEXT:
            return self.text(value)
        if kind == ARRAY:
            return [self.item(depth + 1) for _ in range(self.count(value))]
        return self.members(self.count(value), depth)

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.raw):
            raise Malformed(self.field, f"{len(self.raw)} bytes", "more: an item is cut short")
        taken, self.at = self.raw[self.at : end], end
        return taken

    def argument(self, start: int, head: int) -> int:
        """The number in an item's head, in its shortest form (RFC 8949 §4.2.1)."""
        short = head & 0x1F
        refusal = Malformed(self.field, f"head 0x{head:02x} at byte {start}", WANTED)
        if head >> 5 > MAP or short > 27:
            raise refusal
        if short < 24:
            return short
        size = 1 << (short - 24)
        value = int.from_bytes(self.take(size))
        if value < 24 or (size > 1 and value >> (4 * size) == 0) or value > MAX_SAFE_INTEGER:
            raise refusal
        return value

    def count(self, value: int) -> int:
        """A number of elements, each of which takes a byte at least: a larger one reserves nothing."""
        if value > len(self.raw) - self.at:
            raise Malformed(self.field, f"{len(self.raw)} bytes", "more: an item is cut short")
        return value

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise Malformed(self.field, "text that is no UTF-8", "UTF-8") from None

    def members(self, count: int | None, depth: int) -> dict[int | str, Item]:
        """The members of a map; `count` is None where a break ends it."""
        members: dict[int | str, Item] = {}
        while len(members) != count:
            if count is None and self.raw[self.at : self.at + 1] == bytes((BREAK,)):
                self.at += 1
                break
            key = self.item(depth + 1)
            if not isinstance(key, int | str) or key in members:
                raise Malformed(self.field, "a map key twice, or of another kind", "integers or text, each once")
            members[key] = self.item(depth + 1)
        return members
