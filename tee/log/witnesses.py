"""Whose cosignatures make a checkpoint believable: C2SP tlog-policy files and their quorum (SPEC §15.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tee.canonical import shown
from tee.errors import Malformed
from tee.log.checkpoint import cosigned_at
from tee.log.note import KeyType, Note, NoteKey, parse_note_key

MAX_POLICY_SIZE = 64 << 10
MAX_WITNESSES = 100
NONE = "none"  # the quorum of who asks for no witness
_THRESHOLD = re.compile(r"[1-9][0-9]{0,2}")  # one spelling, and no more than MAX_WITNESSES asks for


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness by its local name, its key (type 4) and where it can be reached; empty if it need not be."""

    name: str
    key: NoteKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """At least `threshold` of these members, witnesses or groups, by name."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """The logs that one believes, and the witnesses that one wants on their checkpoints."""

    logs: tuple[NoteKey, ...]
    witnesses: dict[str, Witness]
    groups: dict[str, Group]
    quorum: str

    def reached(self, cosigned: set[str]) -> bool:
        """Whether these witnesses, by name, make up the quorum."""
        return self.quorum == NONE or self._holds(self.quorum, cosigned)

    def _holds(self, name: str, cosigned: set[str]) -> bool:
        if name in self.witnesses:
            return name in cosigned
        group = self.groups[name]
        return sum(self._holds(member, cosigned) for member in group.members) >= group.threshold

    def cosigned(self, note: Note, where: str) -> dict[str, int]:
        """When each witness of this policy cosigned, by its name. Raises Malformed for a bad cosignature."""
        times = {name: cosigned_at(note, witness.key, where) for name, witness in self.witnesses.items()}
        return {name: time for name, time in times.items() if time is not None}

    def to_json(self) -> dict[str, Any]:
        """All that the policy demands, for a digest: keys and addresses, not only names."""
        return {
            "logs": [key.encode() for key in self.logs],
            "witnesses": {name: [it.key.encode(), it.url] for name, it in self.witnesses.items()},
            "groups": {name: [it.threshold, *it.members] for name, it in self.groups.items()},
            "quorum": self.quorum,
        }

    def describe(self) -> str:
        """The quorum in words."""
        if self.quorum == NONE:
            return "no witness"
        if self.quorum in self.witnesses:
            return f"witness {self.quorum}"
        group = self.groups[self.quorum]
        return f"{group.threshold} of {', '.join(group.members)}"


@dataclass(slots=True)
class _Draft:
    logs: list[NoteKey] = field(default_factory=list)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None

    def log(self, words: list[str], place: str) -> None:
        if len(words) not in (1, 2):
            raise Malformed(place, f"{len(words)} words", "log VKEY [URL]")
        key = parse_note_key(words[0], place)
        if key.kind is not KeyType.ED25519:
            raise Malformed(place, f"a key of type {key.kind.value}", "a log's key, of type 1")
        self.logs.append(key)

    def witness(self, words: list[str], place: str) -> None:
        if len(words) not in (2, 3):
            raise Malformed(place, f"{len(words)} words", "witness NAME VKEY [URL]")
        self._require_new(words[0], place)
        key = parse_note_key(words[1], place)
        if key.kind is not KeyType.COSIGNATURE_V1:
            raise Malformed(place, f"a key of type {key.kind.value}", "a witness's key, of type 4")
        if any(key.public_key == other.key.public_key for other in self.witnesses.values()):
            raise Malformed(place, "a key that another witness has", "a key of its own: one person is one witness")
        self.witnesses[words[0]] = Witness(words[0], key, words[2] if len(words) == 3 else "")

    def group(self, words: list[str], place: str) -> None:
        if len(words) < 3:
            raise Malformed(place, f"{len(words)} words", "group NAME all|any|K MEMBER…")
        name, demand, *members = words
        self._require_new(name, place)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise Malformed(place, shown(member), "a witness or a group that stands above")
        if len(set(members)) != len(members):
            raise Malformed(place, "a member twice", "each member once")
        words_for = {"all": len(members), "any": 1}
        threshold = words_for.get(demand, int(demand) if _THRESHOLD.fullmatch(demand) else 0)
        if not 1 <= threshold <= len(members):
            raise Malformed(place, shown(demand), f"all, any, or 1 to {len(members)}")
        self.groups[name] = Group(threshold, tuple(members))

    def settle(self, words: list[str], place: str) -> None:
        if len(words) != 1 or self.quorum is not None:
            raise Malformed(place, "another quorum", "one line, quorum NAME")
        if words[0] != NONE and words[0] not in self.witnesses and words[0] not in self.groups:
            raise Malformed(place, shown(words[0]), "none, or a witness or a group that stands above")
        self.quorum = words[0]

    def _require_new(self, name: str, place: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise Malformed(place, shown(name), "a name that is not taken")
        if len(self.witnesses) + len(self.groups) >= MAX_WITNESSES:
            raise Malformed(place, "more witnesses and groups", f"at most {MAX_WITNESSES}")


def parse_witness_policy(raw: bytes, *, log_required: bool = True) -> WitnessPolicy:
    """A policy from its file (C2SP tlog-policy). A quorum is required: silence could mean none. Raises Malformed."""
    if len(raw) > MAX_POLICY_SIZE:
        raise Malformed("witness policy", f"{len(raw)} bytes", f"at most {MAX_POLICY_SIZE}")
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("witness policy", f"invalid UTF-8 at byte {error.start}", "UTF-8") from None
    draft = _Draft()
    keywords: dict[str, Callable[[list[str], str], None]] = {
        "log": draft.log,
        "witness": draft.witness,
        "group": draft.group,
        "quorum": draft.settle,
    }
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        place = f"witness policy, line {number}"
        if words[0] not in keywords:
            raise Malformed(place, shown(words[0]), "log, witness, group or quorum")
        keywords[words[0]](words[1:], place)
    if draft.quorum is None:
        raise Malformed("witness policy", "no quorum", "a line quorum NAME, or quorum none")
    if log_required and not draft.logs:
        raise Malformed("witness policy", "no log", "a line log VKEY")
    return WitnessPolicy(tuple(draft.logs), draft.witnesses, draft.groups, draft.quorum)
