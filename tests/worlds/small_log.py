"""A log in memory, with its key and two witnesses: enough to sign, prove and cosign."""

from __future__ import annotations

from dataclasses import dataclass, field

from nacl.signing import SigningKey

from tee.log.checkpoint import Checkpoint, cosign, sign_checkpoint
from tee.log.merkle import Frontier, fold, hash_leaf, prove_consistency, prove_inclusion
from tee.log.note import KeyType, Note, NoteKey
from tee.log.proof import LeafProof

ORIGIN = "gw.example.com/attestation/transparency"
COSIGNED_AT = 1_795_240_000


def sign_with(key: SigningKey, message: bytes) -> bytes:
    return key.sign(message).signature


@dataclass
class SmallLog:
    """Leaves and their tree; every hash is computed anew from the leaves."""

    origin: str = ORIGIN
    secret: SigningKey = field(default_factory=lambda: SigningKey(b"\x07" * 32))
    leaves: list[bytes] = field(default_factory=list)

    @property
    def key(self) -> NoteKey:
        return NoteKey(self.origin, KeyType.ED25519, bytes(self.secret.verify_key))

    def read(self, level: int, index: int) -> bytes:
        nodes = [hash_leaf(leaf) for leaf in self.leaves[index << level : (index + 1) << level]]
        while len(nodes) > 1:
            nodes = [fold(nodes[at : at + 2]) for at in range(0, len(nodes), 2)]
        return nodes[0]

    def root(self, size: int) -> bytes:
        frontier = Frontier()
        for leaf in self.leaves[:size]:
            frontier = frontier.append(hash_leaf(leaf))
        return frontier.root()

    def checkpoint(self, size: int | None = None) -> Note:
        size = len(self.leaves) if size is None else size
        return sign_checkpoint(
            Checkpoint(self.origin, size, self.root(size)), self.key, lambda text: sign_with(self.secret, text)
        )

    def proof(self, index: int, size: int | None = None) -> LeafProof:
        size = len(self.leaves) if size is None else size
        return LeafProof(index, tuple(prove_inclusion(index, size, self.read)), self.checkpoint(size).encode())

    def consistency(self, old: int, new: int) -> list[bytes]:
        return prove_consistency(old, new, self.read)


@dataclass(frozen=True)
class SmallWitness:
    """A witness that cosigns whatever it is shown: the tests need its signature, not its judgement."""

    name: str
    seed: int

    @property
    def secret(self) -> SigningKey:
        return SigningKey(bytes([self.seed]) * 32)

    @property
    def key(self) -> NoteKey:
        return NoteKey(self.name, KeyType.COSIGNATURE_V1, bytes(self.secret.verify_key))

    def cosign(self, note: Note, time: int = COSIGNED_AT) -> Note:
        line = cosign(note, self.key, time, lambda text: sign_with(self.secret, text))
        return Note(note.text, (*note.signatures, line))
