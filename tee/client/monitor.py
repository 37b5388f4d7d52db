"""One look at a log that is followed: what it shows now against all that it showed before, and to its witnesses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tee.canonical import shown
from tee.client.log import LogReader, NotServed
from tee.client.logbook import Bookmark, Logbook
from tee.errors import Malformed, Unavailable
from tee.log.checkpoint import Checkpoint, SignedCheckpoint, cosigned_at, open_checkpoint, parse_checkpoint
from tee.log.entry import LogEntry
from tee.log.following import (
    Distrusted,
    Followed,
    first_origin,
    open_followed,
    read_on,
    require_growth,
    require_succession,
)
from tee.log.note import NoteKey
from tee.log.tiles import TILE_WIDTH
from tee.log.witnesses import Witness, WitnessPolicy

MAX_TOLD = 10_000  # changes in one look: who reads more?
MAX_PASSED = 100  # epochs at first sight: each means that a log's end was lost, and a server may list any number


@dataclass(slots=True)
class Look:
    """What one look found. `found` are reasons to distrust the log; `unseen` is what could not be asked."""

    origin: str = ""
    size: int = 0
    key: NoteKey | None = None
    pinned_now: bool = False
    new: Counter[str] = field(default_factory=Counter)
    passed: str = ""
    changes: list[str] = field(default_factory=list)
    untold: int = 0
    witnesses: dict[str, str] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def tell(self, changes: list[str]) -> None:
        """Note what changed, up to MAX_TOLD; the rest is counted."""
        room = max(0, MAX_TOLD - len(self.changes))
        self.changes += changes[:room]
        self.untold += len(changes[room:])

    def outcome(self) -> str:
        """`consistent`, `rejected` or `unavailable`."""
        return "rejected" if self.found else "unavailable" if self.unseen else "consistent"

    def to_json(self) -> dict[str, Any]:
        """The `--json` form."""
        return {
            "verdict": self.outcome(),
            "origin": self.origin,
            "size": self.size,
            "vkey": self.key and self.key.encode(),
            "key_pinned_now": self.pinned_now,
            "passed_epochs": self.passed,
            "new": dict(sorted(self.new.items())),
            "changes": self.changes,
            "changes_untold": self.untold,
            "witnesses": self.witnesses,
            "found": self.found,
            "unseen": self.unseen,
        }


@dataclass(frozen=True, slots=True)
class Monitor:
    """Follows one log. `given` are the keys that its user trusts; without any, the first key that is seen is kept."""

    reader: LogReader
    book: Logbook
    given: Sequence[NoteKey] = ()
    policy: WitnessPolicy | None = None

    def look(self) -> Look:
        """Look once. What was found is kept as evidence, and counts until a person moves it away."""
        look, mark = Look(), None
        try:
            mark = self.book.load()
            self._follow(mark, look)
        except Distrusted as found:
            self._accuse(found, mark.raw if mark else b"", look)
        except Unavailable as error:
            look.unseen.append(str(error))
        for path in self.book.evidence():
            words = path.read_text()
            if words not in look.found:
                look.found.append(f"{words} (found earlier: {path.parent})")
        return look

    def _follow(self, mark: Bookmark | None, look: Look) -> None:
        raw = self.reader.checkpoint()
        try:
            origin = parse_checkpoint(raw, "checkpoint").checkpoint.origin
        except Malformed as error:
            raise Distrusted(str(error), raw) from None
        key, signed = open_followed(raw, self._known_key(mark, origin, look))
        self.book.keep(raw)
        look.origin, look.size, look.key = key.name, signed.checkpoint.size, key
        if mark is None:
            mark = self._read_before(key, look)
        elif mark.followed.key != key:
            mark = self._read_passed(mark, look)
        self.book.save(self._read(self.reader, mark, key, signed.checkpoint, raw, look), raw)
        for witness in self.policy.witnesses.values() if self.policy else ():
            look.witnesses[witness.name] = self._match(witness, key, signed.checkpoint, raw, look)
        self._require_quorum(signed, raw, look)

    def _known_key(self, mark: Bookmark | None, origin: str, look: Look) -> NoteKey:
        """The key to demand: that of the last look, else one that was given, else the one that the log names."""
        if mark is not None:
            known = mark.followed.key
            if self.given and all(key.public_key != known.public_key for key in self.given):
                wanted = f"{known.encode()}, which this folder follows; another log needs another folder"
                raise Malformed("--log", self.given[0].encode(), wanted)
            return known
        for key in self.given:
            if first_origin(key.name) == first_origin(origin):
                return key
        if self.given:
            names = ", ".join(key.name for key in self.given)
            raise Distrusted(f"the log calls itself {shown(origin)}, and the keys that you gave are of {names}")
        look.pinned_now = True
        try:
            return self.reader.named_key()
        except Malformed as error:
            raise Distrusted(str(error)) from None

    def _read_before(self, live: NoteKey, look: Look) -> Bookmark | None:
        """At first sight of a later epoch: read those of its key that passed before it, and tell how far back."""
        base = first_origin(live.name)
        if live.name == base:
            return None
        listed = self._passed_epochs()
        own = [row for row in listed if row[1].public_key == live.public_key and first_origin(row[1].name) == base]
        read = self._read_epochs(own[-MAX_PASSED:], None, look)
        whole = "" if read and read[0].followed.key.name == base else "not "
        counted = f"{len(read)} of {len(listed)} listed before it were read"
        look.passed = f"first sight of a later epoch: {counted}, {whole}from the log's first leaf on"
        return read[-1] if read else None

    def _read_passed(self, mark: Bookmark, look: Look) -> Bookmark:
        """Read on in the epochs that have passed since the last look, as far as they are served."""
        epochs = self._passed_epochs()
        at = next((at for at, (_, key) in enumerate(epochs) if key == mark.followed.key), len(epochs))
        return [mark, *self._read_epochs(epochs[at:], mark, look)][-1]

    def _passed_epochs(self) -> list[tuple[int, NoteKey]]:
        try:
            return self.reader.passed_epochs()
        except Malformed as error:
            raise Distrusted(str(error)) from None

    def _read_epochs(self, epochs: list[tuple[int, NoteKey]], mark: Bookmark | None, look: Look) -> list[Bookmark]:
        """Read these passed epochs in turn, after `mark` where there is one; the end of each that is served."""
        read = []
        for number, listed in epochs:
            reader = self.reader.of_epoch(number)
            try:
                raw = reader.checkpoint()
                key, signed = open_followed(raw, mark.followed.key if mark else listed)
                self.book.keep(raw)
                followed = self._read(reader, mark, key, signed.checkpoint, raw, look)
            except NotServed:  # what is missing then shows where the next epoch says what it follows
                continue
            mark = Bookmark(followed, signed.checkpoint, raw)
            self.book.save(followed, raw)
            read.append(mark)
        return read

    def _read(
        self, reader: LogReader, mark: Bookmark | None, key: NoteKey, new: Checkpoint, raw: bytes, look: Look
    ) -> Followed:
        """Read what is new, and hold it against the tree and the chain. Raises Distrusted, Unavailable."""
        followed = mark.followed if mark else Followed(key)
        new_epoch = followed.key != key
        if new_epoch:
            followed = Followed(key, startup=followed.startup)
            if new.size == 0:  # else the next look would not know any more what this epoch has to follow
                raise Distrusted("the new epoch is empty: it does not say what it follows", raw)
        old, nodes = Checkpoint(key.name, followed.tree.size, followed.tree.root()), reader.nodes(new.size)
        try:
            require_growth(old, new, nodes)
            while followed.tree.size < new.size:
                number, at = divmod(followed.tree.size, TILE_WIDTH)
                leaves = reader.leaves(number, new.size)[at:]
                followed, entries, changes = read_on(followed, leaves, new, nodes)
                if new_epoch and mark is not None and entries[0].index == 0:
                    self._require_succession(entries[0], mark, raw, look)
                look.new.update(entry.type for entry in entries)
                look.tell(changes)
        except Malformed as error:  # of a tile
            raise Distrusted(str(error), raw) from None
        except Distrusted as found:
            raise Distrusted(found.words, raw) from None
        return followed

    def _require_succession(self, first: LogEntry, mark: Bookmark, raw: bytes, look: Look) -> None:
        """That the new epoch lost nothing. Told and kept if it did, and then it is followed: there is no other."""
        try:
            require_succession(first, mark.checkpoint)
        except Distrusted as found:
            self._accuse(Distrusted(found.words, raw), mark.raw, look)

    def _match(self, witness: Witness, key: NoteKey, own: Checkpoint, raw: bytes, look: Look) -> str:
        """What a witness saw, in words, against what we see."""
        if not witness.url:
            return "has no URL to ask"
        try:
            view = self.reader.witness_checkpoint(witness.url, key.name)
        except NotServed:
            return "has not seen this log"
        except Unavailable as error:
            look.unseen.append(f"witness {witness.name}: {error}")
            return "does not answer"
        try:
            return self._compare(witness, view, key, own, look)
        except Distrusted as found:
            self._accuse(found, raw, look)
            return "contradicts the log"

    def _compare(self, witness: Witness, view: bytes, key: NoteKey, own: Checkpoint, look: Look) -> str:
        """That a witness saw the same history. Raises Distrusted, Unavailable."""
        place = f"witness {witness.name}"
        try:
            signed = open_checkpoint(view, key, place)
            if cosigned_at(signed.note, witness.key, place) is None:
                raise Malformed(place, "a checkpoint without its own cosignature", f"one by {witness.key.encode()}")
            self.book.keep(view)
            small, large = sorted((signed.checkpoint, own), key=lambda each: each.size)
            require_growth(small, large, self.reader.nodes(large.size))
        except Malformed as error:
            raise Distrusted(str(error), view) from None
        except Distrusted as found:
            raise Distrusted(f"{place} saw another history: {found.words}", view) from None
        except NotServed as error:  # perhaps hidden, perhaps a store that dropped a partial tile meanwhile
            look.unseen.append(f"{place} saw {signed.checkpoint.size} leaves, the log shows {own.size}: {error}")
            return "cannot be matched"
        return "saw the same history"

    def _require_quorum(self, signed: SignedCheckpoint, raw: bytes, look: Look) -> None:
        """That the checkpoint carries the user's quorum of cosignatures. Raises Distrusted for a bad one."""
        if self.policy is None:
            return
        try:
            cosigned = set(self.policy.cosigned(signed.note, "checkpoint"))
        except Malformed as error:
            raise Distrusted(str(error), raw) from None
        if not self.policy.reached(cosigned):
            by = ", ".join(sorted(cosigned)) or "nobody"
            look.found.append(f"the checkpoint is cosigned by {by}; your policy wants {self.policy.describe()}")

    def _accuse(self, found: Distrusted, ours: bytes, look: Look) -> None:
        look.found.append(found.words)
        self.book.accuse(found, ours)
