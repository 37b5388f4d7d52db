"""WorkloadKeyset and Workload: the documents that a report commits to (SPEC §4.1, §4.3; ACI/1 §3.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tee.canonical import digest, kind_of, shown, step
from tee.errors import Malformed

SUBJECT_PREFIX = "urn:saferouter:workload:"
IDENTITY_CONTEXT = b"saferouter/keyset/v1\n"
MAX_KEYS = 16  # a keyset names a handful of keys; more is an attempt to bury one
LAST_SECOND = 253402300799  # the end of the year 9999
MAX_KEYSET_SECONDS = 7 * 24 * 3600

KEYSET_MEMBERS = {"subject", "not_after", "receipt_signing_keys", "e2ee_public_keys", "tls_public_keys"}
WORKLOAD_MEMBERS = {
    "version",
    "audience",
    "build",
    "configuration",
    "seed_measurement",
    "identity_key",
    "http_signature_key",
    "stream_key",
    "log",
    "platform_evidence",
}
PLATFORM_KINDS = ("nitrotpm",)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """An Ed25519 key (32 bytes) that signs receipts and nothing else."""

    key_id: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class WorkloadKeyset:
    """A parsed keyset. `document` is the JSON it came from; its digest covers members unknown here too."""

    subject: str
    not_after: datetime
    receipt_keys: tuple[ReceiptKey, ...]
    document: dict[str, Any]
    digest: str

    def receipt_key(self, key_id: str) -> ReceiptKey | None:
        """The receipt key of that id, or None."""
        return next((key for key in self.receipt_keys if key.key_id == key_id), None)


@dataclass(frozen=True, slots=True)
class WorkloadLog:
    """The log that a workload writes: its origin and its verifying key, a C2SP vkey that nobody has parsed yet."""

    origin: str
    vkey: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A parsed workload document; `digest` is what the keyset's subject names. Keys are Ed25519, 32 bytes."""

    audience: str
    identity_key: bytes
    http_signature_key: bytes | None
    stream_key: bytes | None
    platform_kinds: tuple[str, ...]
    log: WorkloadLog | None
    document: dict[str, Any]
    digest: str


def parse_keyset(document: Any) -> WorkloadKeyset:
    """Parse a keyset (ACI/1 §3.1). Raises Malformed."""
    require_members(document, KEYSET_MEMBERS, "keyset")
    not_after = document["not_after"]
    if type(not_after) is not int or not 0 < not_after <= LAST_SECOND:
        raise Malformed("keyset.not_after", shown(not_after), "seconds since 1970")
    keys = [_parse_receipt_key(row) for row in _rows(document, "receipt_signing_keys")]
    if len({key.key_id for key in keys}) != len(keys):
        raise Malformed("keyset.receipt_signing_keys", "a key_id twice", "each key_id once")
    for row in _rows(document, "e2ee_public_keys"):
        text(row.get("key_id"), "keyset.e2ee_public_keys.key_id")
    for row in _rows(document, "tls_public_keys"):
        hex_bytes(row.get("spki_sha256"), 32, "keyset.tls_public_keys.spki_sha256")
    return WorkloadKeyset(
        subject=text(document["subject"], "keyset.subject"),
        not_after=datetime.fromtimestamp(not_after, UTC),
        receipt_keys=tuple(keys),
        document=document,
        digest=digest(document),
    )


def parse_workload(document: Any) -> Workload:
    """Parse a workload document (SPEC §4.3). Raises Malformed."""
    require_members(document, WORKLOAD_MEMBERS, "workload", exact=True)
    if type(document["version"]) is not int or document["version"] != 1:
        raise Malformed("workload.version", shown(document["version"]), "1")
    build, configuration = document["build"], document["configuration"]
    require_members(
        build, {"version", "repo_url", "repo_commit", "image_digest", "source_digest"}, "workload.build", exact=True
    )
    require_members(
        configuration,
        {"providers", "models", "policies", "prices", "settings"},
        "workload.configuration",
        exact=True,
    )
    for name, value in configuration.items():
        digest_text(value, f"workload.configuration.{name}")
    digest_text(build["source_digest"], "workload.build.source_digest")
    digest_text(document["seed_measurement"], "workload.seed_measurement")
    http, stream = (
        None if document[name] is None else hex_bytes(document[name], 32, f"workload.{name}")
        for name in ("http_signature_key", "stream_key")
    )
    return Workload(
        audience=text(document["audience"], "workload.audience"),
        identity_key=hex_bytes(document["identity_key"], 32, "workload.identity_key"),
        http_signature_key=http,
        stream_key=stream,
        platform_kinds=platform_kinds(document["platform_evidence"], "workload.platform_evidence"),
        log=_parse_log(document["log"]),
        document=document,
        digest=digest(document),
    )


def platform_kinds(value: Any, path: str) -> tuple[str, ...]:
    """Kinds of platform evidence, known and each once: an unknown one could not be judged. Raises Malformed."""
    if not isinstance(value, list):
        raise Malformed(path, kind_of(value), "a list of kinds")
    for kind in value:
        if kind not in PLATFORM_KINDS or value.count(kind) > 1:
            raise Malformed(path, shown(kind), f"each at most once: {', '.join(PLATFORM_KINDS)}")
    return tuple(value)


def _parse_log(value: Any) -> WorkloadLog | None:
    if value is None:
        return None
    require_members(value, {"origin", "vkey"}, "workload.log", exact=True)
    return WorkloadLog(text(value["origin"], "workload.log.origin"), text(value["vkey"], "workload.log.vkey"))


def subject_of(workload_digest: str) -> str:
    """The keyset subject that commits to a workload document (SPEC §4.3)."""
    return SUBJECT_PREFIX + workload_digest


def identity_message(keyset_digest: str) -> bytes:
    """What the persistent identity signs, so that a change of identity shows (SPEC §4.4)."""
    return IDENTITY_CONTEXT + keyset_digest.encode("ascii")


def verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the Ed25519 signature (64 bytes) verifies; the rule of `cryptography`, which WebCrypto shares."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def require_members(value: Any, members: set[str], path: str, *, exact: bool = False) -> None:
    """`value` is an object with these members (only these, if `exact`). Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(path, kind_of(value), "an object")
    if missing := sorted(members - value.keys()):
        raise Malformed(f"{path}.{missing[0]}", "nothing", "a value: it is required")
    if exact and (unknown := sorted(value.keys() - members)):
        raise Malformed(f"{path}.{step(unknown[0])}", "an unknown member", f"{', '.join(sorted(members))}")


def text(value: Any, path: str, limit: int = 512) -> str:
    """`value` as printable ASCII of 1 to `limit` characters. Raises Malformed."""
    if not isinstance(value, str) or not 0 < len(value) <= limit or not (value.isascii() and value.isprintable()):
        raise Malformed(path, shown(value), f"printable ASCII, 1 to {limit} characters")
    return value


def hex_bytes(value: Any, size: int, path: str) -> bytes:
    """`value` as lowercase hex of exactly `size` bytes. Raises Malformed."""
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value, re.ASCII):
        raise Malformed(path, shown(value), f"{2 * size} lowercase hex characters")
    return bytes.fromhex(value)


def digest_text(value: Any, path: str) -> str:
    """`value` as `sha256:<64 lowercase hex>`. Raises Malformed."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise Malformed(path, shown(value), "sha256: and 64 lowercase hex characters")
    return value


def seconds(value: Any, path: str) -> int:
    """`value` as seconds since 1970, up to the year 9999. Raises Malformed."""
    if type(value) is not int or not 0 <= value <= LAST_SECOND:
        raise Malformed(path, shown(value), "an integer of at least 0")
    return value


def _rows(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = document[name]
    if not isinstance(rows, list) or len(rows) > MAX_KEYS or any(not isinstance(row, dict) for row in rows):
        raise Malformed(f"keyset.{name}", kind_of(rows), f"a list of at most {MAX_KEYS} objects")
    return rows


def _parse_receipt_key(row: dict[str, Any]) -> ReceiptKey:
    path = "keyset.receipt_signing_keys"
    require_members(row, {"key_id", "algo", "public_key"}, path)
    if row["algo"] != "ed25519":
        raise Malformed(f"{path}.algo", shown(row["algo"]), "ed25519")
    return ReceiptKey(text(row["key_id"], f"{path}.key_id"), hex_bytes(row["public_key"], 32, f"{path}.public_key"))
