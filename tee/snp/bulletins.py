"""TCB data: AMD's bulletins and what each asks of a report, built in or in a signed update (SPEC §13)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from tee.canonical import encode_canonical, kind_of, parse_json, shown, step
from tee.errors import Malformed
from tee.keys.identity import require_members, seconds, text
from tee.measure.envelope import Signers, open_envelope
from tee.snp.product import PRODUCTS, Tcb
from tee.snp.report import PLATFORM_WORDS

FORMAT = "saferouter/tcb/v1"
PAYLOAD_TYPE = "application/vnd.saferouter.tcb+json"
REVOKED, NEEDS_UPDATE = "revoked", "needs-update"
BULLETIN_ID = re.compile(r"AMD-SB-[0-9]{4,6}", re.ASCII)
MAX_ROWS = 256  # AMD publishes a few bulletins a year, each for a handful of CPUs
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stepping:
    """A CPU by name, for example `Milan B1`: microcode versions compare only within one."""

    name: str
    product: str
    model: int
    stepping: int


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a bulletin asks of one product, or of one stepping of it; `withdrawn` is the day it stopped asking."""

    product: str
    stepping: str | None
    floor: Tcb
    platform: tuple[str, ...]  # words of SPEC §5
    mitigation_bits: tuple[int, ...]
    withdrawn: str | None


@dataclass(frozen=True, slots=True)
class Bulletin:
    """One bulletin; a report below it has the status `status_below`."""

    id: str
    title: str
    published: str | None  # YYYY-MM or YYYY-MM-DD
    status_below: str
    smt_off_answers: bool
    requirements: tuple[Requirement, ...]
    not_proven: dict[str, str]  # by product: what no version of it can show
    note: str | None

    def asked_of(self, product: str) -> tuple[Requirement, ...]:
        """What it asks of this product, withdrawn or not."""
        return tuple(row for row in self.requirements if row.product == product)


@dataclass(frozen=True, slots=True)
class TcbData:
    """A dated table of bulletins; `sequence` only grows, `issued` and `expires` are seconds since 1970."""

    sequence: int
    issued: int
    expires: int
    steppings: tuple[Stepping, ...]
    bulletins: tuple[Bulletin, ...]


def open_tcb_data(raw: bytes, signers: Signers) -> TcbData:
    """The data of a signed update, never older than the built-in one. Raises Malformed."""
    payload = open_envelope(raw, signers, PAYLOAD_TYPE, "tcb")
    document = parse_json(payload, "tcb.payload")
    data = decode_tcb_data(document)
    if payload != encode_canonical(document):
        raise Malformed("tcb.payload", "another spelling of it", "the canonical form (RFC 8785) of the document")
    if data.sequence < BUILT_IN.sequence:
        raise Malformed("tcb.sequence", data.sequence, f"at least {BUILT_IN.sequence}, which is built in")
    return data


def decode_tcb_data(document: Any) -> TcbData:
    """TCB data from its parsed document; an unknown member is refused. Raises Malformed."""
    names = {"format", "sequence", "issued", "expires", "steppings", "bulletins"}
    require_members(document, names, "tcb", exact=True)
    if document["format"] != FORMAT:
        raise Malformed("tcb.format", shown(document["format"]), FORMAT)
    issued, expires = (seconds(document[name], f"tcb.{name}") for name in ("issued", "expires"))
    if expires <= issued:
        raise Malformed("tcb.expires", expires, f"a time after it was issued, {issued}")
    rows = _list(document["steppings"], "tcb.steppings")
    steppings = tuple(_stepping(row, f"tcb.steppings[{at}]") for at, row in enumerate(rows))
    _require_unique([row.name for row in steppings], "tcb.steppings")
    rows = _list(document["bulletins"], "tcb.bulletins")
    bulletins = tuple(_bulletin(row, f"tcb.bulletins[{at}]", steppings) for at, row in enumerate(rows))
    _require_unique([row.id for row in bulletins], "tcb.bulletins")
    return TcbData(_integer(document["sequence"], "tcb.sequence", 2**53 - 1), issued, expires, steppings, bulletins)


def _stepping(row: Any, path: str) -> Stepping:
    require_members(row, {"name", "product", "model", "stepping"}, path, exact=True)
    return Stepping(
        text(row["name"], f"{path}.name", 64),
        _product(row["product"], f"{path}.product"),
        _integer(row["model"], f"{path}.model", 255),
        _integer(row["stepping"], f"{path}.stepping", 255),
    )


def _bulletin(row: Any, path: str, steppings: tuple[Stepping, ...]) -> Bulletin:
    names = {"id", "title", "published", "status_below", "smt_off_answers", "requirements", "not_proven", "note"}
    require_members(row, names, path, exact=True)
    if not BULLETIN_ID.fullmatch(text(row["id"], f"{path}.id", 64)):
        raise Malformed(f"{path}.id", shown(row["id"]), "a bulletin's id, for example AMD-SB-3019")
    if row["status_below"] not in (REVOKED, NEEDS_UPDATE):
        raise Malformed(f"{path}.status_below", shown(row["status_below"]), f"{REVOKED} or {NEEDS_UPDATE}")
    if not isinstance(row["smt_off_answers"], bool):
        raise Malformed(f"{path}.smt_off_answers", kind_of(row["smt_off_answers"]), "a boolean")
    asked = enumerate(_list(row["requirements"], f"{path}.requirements"))
    return Bulletin(
        row["id"],
        text(row["title"], f"{path}.title", 64),
        _date(row["published"], f"{path}.published"),
        row["status_below"],
        row["smt_off_answers"],
        tuple(_requirement(each, f"{path}.requirements[{at}]", steppings) for at, each in asked),
        {
            _product(name, f"{path}.not_proven"): text(value, f"{path}.not_proven.{step(name)}")
            for name, value in _members(row["not_proven"], f"{path}.not_proven")
        },
        None if row["note"] is None else text(row["note"], f"{path}.note"),
    )


def _requirement(row: Any, path: str, steppings: tuple[Stepping, ...]) -> Requirement:
    names = {"product", "stepping", "floor", "platform", "mitigation_bits", "withdrawn"}
    require_members(row, names, path, exact=True)
    product = _product(row["product"], f"{path}.product")
    known = [each.name for each in steppings if each.product == product]
    if row["stepping"] is not None and row["stepping"] not in known:
        raise Malformed(f"{path}.stepping", shown(row["stepping"]), f"null or a stepping of {product}")
    layout = PRODUCTS[product].tcb_layout
    floor = dict(_members(row["floor"], f"{path}.floor"))
    if unknown := sorted(set(floor) - set(layout)):
        raise Malformed(f"{path}.floor.{step(unknown[0])}", "an unknown component", f"one of {', '.join(layout)}")
    words = _list(row["platform"], f"{path}.platform")
    if other := [word for word in words if not isinstance(word, str) or word not in PLATFORM_WORDS]:
        raise Malformed(f"{path}.platform", shown(other[0]), f"one of {', '.join(PLATFORM_WORDS)}")
    bits = _list(row["mitigation_bits"], f"{path}.mitigation_bits")
    return Requirement(
        product,
        row["stepping"],
        {part: _integer(floor[part], f"{path}.floor.{part}", 255) for part in layout if part in floor},
        tuple(words),
        tuple(_integer(bit, f"{path}.mitigation_bits", 63) for bit in bits),
        _date(row["withdrawn"], f"{path}.withdrawn"),
    )


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_ROWS:
        found = f"{len(value)} items" if isinstance(value, list) else kind_of(value)
        raise Malformed(path, found, f"an array of at most {MAX_ROWS} items")
    return value


def _members(value: Any, path: str) -> list[tuple[str, Any]]:
    require_members(value, set(), path)
    return sorted(value.items())


def _require_unique(values: list[str], path: str) -> None:
    if len(set(values)) != len(values):
        raise Malformed(path, "a name twice", "each name once")


def _product(value: Any, path: str) -> str:
    if not isinstance(value, str) or value not in PRODUCTS:
        raise Malformed(path, shown(value), "Milan, Genoa or Turin")
    return value


def _integer(value: Any, path: str, maximum: int) -> int:
    if type(value) is not int or not 0 <= value <= maximum:
        raise Malformed(path, shown(value), f"0 to {maximum}")
    return value


def _date(value: Any, path: str) -> str | None:
    if value is None or (isinstance(value, str) and _DATE.fullmatch(value)):
        return value
    raise Malformed(path, shown(value), "null, YYYY-MM or YYYY-MM-DD")


def _default_floor(data: TcbData) -> dict[str, Tcb]:
    """The highest version of each component that any bulletin asks of every stepping of a product."""
    floors: dict[str, Tcb] = {}
    for name, product in PRODUCTS.items():
        asked = [row for each in data.bulletins for row in each.asked_of(name) if not (row.stepping or row.withdrawn)]
        highest = {part: max((row.floor.get(part, -1) for row in asked), default=-1) for part in product.tcb_layout}
        floors[name] = {part: version for part, version in highest.items() if version >= 0}
    return floors


# Part of this program, like its code: read once, with it.
BUILT_IN = decode_tcb_data(parse_json(files("tee").joinpath("tcb.json").read_bytes(), "tee/tcb.json"))
# A policy may set its own floor; a signed update changes the status of a report, never this floor.
DEFAULT_TCB_FLOOR = _default_floor(BUILT_IN)
