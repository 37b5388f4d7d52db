"""A strict DER reader for the few shapes that AMD's certificates use (SPEC §3.1, X.690 §10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tee.errors import Malformed

INTEGER, BIT_STRING, OCTET_STRING, OID = 0x02, 0x03, 0x04, 0x06
UTF8_STRING, PRINTABLE_STRING, IA5_STRING = 0x0C, 0x13, 0x16
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
CONTEXT_0, CONTEXT_3 = 0xA0, 0xA3


@dataclass(frozen=True, slots=True)
class Element:
    """One DER element: its tag, its content, and the whole of its bytes."""

    tag: int
    content: bytes
    raw: bytes


def read_element(raw: bytes, field: str) -> tuple[Element, bytes]:
    """Split the first element off `raw`; returns it and the rest. Raises Malformed."""
    if len(raw) < 2:
        raise Malformed(field, f"{len(raw)} bytes", "a DER element")
    tag, first = raw[0], raw[1]
    if tag & 0x1F == 0x1F:
        raise Malformed(field, "a multi-byte tag", "a single-byte tag")
    start, length = 2, first
    if first >= 0x80:
        count = first & 0x7F
        if not 1 <= count <= 3 or len(raw) < 2 + count:
            raise Malformed(field, f"length octet 0x{first:02x}", "a definite length of at most 3 octets")
        start, length = 2 + count, int.from_bytes(raw[2 : 2 + count])
        if length < 0x80 or length >> (8 * (count - 1)) == 0:
            raise Malformed(field, "a length in long form", "the shortest length")
    if len(raw) < start + length:
        raise Malformed(field, f"{len(raw) - start} bytes of content", f"{length} bytes")
    end = start + length
    return Element(tag, raw[start:end], raw[:end]), raw[end:]


def read_all(raw: bytes, field: str) -> list[Element]:
    """Every element of `raw`, which must end with the last one. Raises Malformed."""
    elements = []
    while raw:
        element, raw = read_element(raw, field)
        elements.append(element)
    return elements


def read_only(raw: bytes, tag: int, field: str) -> Element:
    """The one element that `raw` consists of; trailing bytes are refused. Raises Malformed."""
    element, rest = read_element(raw, field)
    if rest:
        raise Malformed(field, f"{len(rest)} bytes after the element", "nothing after it")
    return require_tag(element, tag, field)


def require_tag(element: Element, tag: int, field: str) -> Element:
    """`element` if it has that tag. Raises Malformed."""
    if element.tag != tag:
        raise Malformed(field, f"tag 0x{element.tag:02x}", f"tag 0x{tag:02x}")
    return element


def parse_integer(element: Element, field: str) -> int:
    """A non-negative INTEGER in its shortest form. Raises Malformed."""
    content = require_tag(element, INTEGER, field).content
    if not content or (len(content) > 1 and content[0] == 0 and content[1] < 0x80):
        raise Malformed(field, f"integer bytes {content.hex() or 'none'}", "the shortest integer")
    if content[0] >= 0x80:
        raise Malformed(field, "a negative integer", "an integer of at least 0")
    return int.from_bytes(content)


def parse_oid(element: Element, field: str) -> str:
    """An OBJECT IDENTIFIER in dotted form, for example `1.3.6.1.4.1.3704.1.2`. Raises Malformed."""
    content = require_tag(element, OID, field).content
    if not content or content[-1] >= 0x80 or len(content) > 64:
        raise Malformed(field, "a broken object identifier", "an object identifier")
    arcs, arc, fresh = [content[0] // 40, content[0] % 40], 0, True
    for byte in content[1:]:
        if fresh and byte == 0x80:
            raise Malformed(field, "a padded object identifier", "the shortest object identifier")
        arc, fresh = arc << 7 | byte & 0x7F, byte < 0x80
        if fresh:
            arcs.append(arc)
            arc = 0
    return ".".join(map(str, arcs))


def parse_text(element: Element, field: str) -> str:
    """A UTF8String, PrintableString or IA5String as text; printable ASCII only. Raises Malformed."""
    if element.tag not in (UTF8_STRING, PRINTABLE_STRING, IA5_STRING):
        raise Malformed(field, f"tag 0x{element.tag:02x}", "a text string")
    if any(not 0x20 <= byte < 0x7F for byte in element.content):
        raise Malformed(field, "unprintable characters", "printable ASCII")
    return element.content.decode("ascii")


def parse_bits(element: Element, field: str) -> bytes:
    """A BIT STRING of whole bytes. Raises Malformed."""
    content = require_tag(element, BIT_STRING, field).content
    if not content or content[0] != 0:
        raise Malformed(field, "a bit string with unused bits", "whole bytes")
    return content[1:]


def parse_time(element: Element, field: str) -> datetime:
    """UTCTime (1950 to 2049) or GeneralizedTime, in UTC to the second (RFC 5280 §4.1.2.5). Raises Malformed."""
    lengths = {UTC_TIME: 13, GENERALIZED_TIME: 15}
    content = element.content
    if len(content) != lengths.get(element.tag) or content[-1:] != b"Z" or not content[:-1].isdigit():
        raise Malformed(field, "a broken time", "UTCTime or GeneralizedTime, to the second, in UTC")
    digits = content[:-1].decode("ascii")
    if element.tag == UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    parts = [int(digits[:4])] + [int(digits[at : at + 2]) for at in range(4, 14, 2)]
    try:
        return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        raise Malformed(field, "a date that does not exist", "a date") from None
