"""What seals this gateway's persistent keys: its identity and the log's (SPEC §14)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from gateway.config import Config, read_aws_credentials
from tee.attest.sev_guest import DEVICE_PATH, SevGuestDevice
from tee.aws.credentials import fetch_credentials
from tee.aws.kms import AttestKey, KmsKey
from tee.aws.kms_key import KmsKeyName
from tee.aws.sigv4 import AwsCredentials
from tee.errors import Malformed, Unavailable, Undecryptable
from tee.private_files import write_private
from tee.seal.derived_key import DerivedKeySource, why_not_isolating
from tee.seal.envelope import MAX_ENVELOPE, MAX_SLOTS
from tee.seal.key_file import KeyFileSource
from tee.seal.kms import KmsSource
from tee.seal.sealer import EnvelopeSealer, Sealer
from tee.snp.report import parse_report

MOCK_KEY_FILE = "mock-sealing.key"
IDENTITY, LOG_KEY = "identity", "log-key"  # what is sealed: file names, and purposes in the envelopes


@dataclass(frozen=True, slots=True)
class Sealing:
    """What seals, or None where nothing may be kept, and a sentence for the operator that says why."""

    sealer: Sealer | None
    reason: str
    adopts_plain: bool = False


def choose_sealing(config: Config, tee_type: str, attest_key: AttestKey | None = None) -> Sealing:
    """The sealing that fits the attester and the configuration. Raises Unavailable, Malformed.

    `attest_key` makes NitroTPM documents, where the machine has a NitroTPM.
    """
    kind, kms_key = config.sealing.kind, config.sealing.kms_key
    if kind == "none":
        return _unsealed("`sealing.kind` is none")
    if kind == "kms" and kms_key is not None:
        return _sealed_by_kms(config, kms_key, attest_key, "as configured")
    if tee_type == "mock":
        source = KeyFileSource(config.state / MOCK_KEY_FILE, tee_type)
        return Sealing(EnvelopeSealer(source), "The identity is sealed by a MOCK, whose key lies beside it.", True)
    found = _derived_key(config.sealing.measurement_covers)
    if isinstance(found, DerivedKeySource):
        words = "The identity is sealed to this chip, launch measurement and firmware, by a derived key."
        return Sealing(EnvelopeSealer(found), words)
    if kms_key is not None:
        return _sealed_by_kms(config, kms_key, attest_key, f"because no derived key will do: {found}")
    return _unsealed(f"no derived key will do ({found}), and no `sealing.kms_key_arn` is configured")


def sealed_file(folder: Path, name: str) -> Path:
    """Where the sealed key of that name lies."""
    return folder / f"{name}.sealed"


def load_key(folder: Path, name: str, sealing: Sealing) -> SigningKey:
    """A persistent key, made on first use; a fresh one where nothing seals. Raises Unavailable, Malformed.

    A key in plain, of an earlier release, is sealed and then removed on the mock. On hardware it is refused: the
    host could read it all along.
    """
    path, plain = sealed_file(folder, name), folder / f"{name}.key"
    try:
        if plain.exists() and not sealing.adopts_plain:
            reason = "a key that lay here unsealed, where the host could read it: delete it to start with a new one"
            raise Unavailable(str(plain), reason, retryable=False)
        if sealing.sealer is None:
            return SigningKey.generate()
        return SigningKey(_sealed_seed(path, plain, name, sealing.sealer))
    except OSError as error:
        raise Unavailable(str(path), error.strerror or "cannot be read or written", retryable=False) from None
    except Undecryptable:
        reason = "does not open: sealed elsewhere, or changed. Restore it, or delete it to start with a new key"
        raise Unavailable(str(path), reason, retryable=False) from None


def _sealed_seed(path: Path, plain: Path, name: str, sealer: Sealer) -> bytes:
    if not path.exists():
        seed = _seed(plain, plain.read_bytes()) if plain.exists() else bytes(SigningKey.generate())
        write_private(path, sealer.seal(seed, name))
    seed = _seed(path, _unsealed_and_refreshed(path, name, sealer))
    if plain.exists():
        if plain.read_bytes() != seed:
            raise Malformed(str(plain), f"another key than {path.name} holds", "one: delete the other")
        plain.unlink()
    return seed


def _unsealed_and_refreshed(path: Path, name: str, sealer: Sealer) -> bytes:
    """What the file seals, after each due step of a hand-over has been written."""
    with path.open("rb") as file:
        envelope = file.read(MAX_ENVELOPE + 1)
    plaintext = sealer.unseal(envelope, name)
    for _ in range(MAX_SLOTS):
        refreshed = sealer.refresh(envelope, name)
        if refreshed is None:
            break
        write_private(path, refreshed)
        envelope = refreshed
    return plaintext


def _seed(path: Path, seed: bytes) -> bytes:
    if len(seed) != 32:
        raise Malformed(str(path), f"{len(seed)} bytes", "32 bytes: restore it, or delete it to start with a new key")
    return seed


def _derived_key(covers: str | None) -> DerivedKeySource | str:
    """Derived keys of this guest, or why there are none."""
    if not DEVICE_PATH.exists():
        return f"there is no {DEVICE_PATH}"
    device = SevGuestDevice()
    report = parse_report(device.get_report(bytes(64)))
    reason = why_not_isolating(report, covers)
    return reason or DerivedKeySource(report, device.get_derived_key, covers)


def _sealed_by_kms(config: Config, name: KmsKeyName, attest_key: AttestKey | None, why: str) -> Sealing:
    key = KmsKey(name, machine_credentials, attest_key, lambda: dt.datetime.now(dt.UTC))
    return Sealing(EnvelopeSealer(KmsSource(key, config.audience)), f"The identity is sealed by {name.arn}, {why}.")


def machine_credentials() -> AwsCredentials:
    """Those of the environment, else of this machine's role. Raises Unavailable."""
    return read_aws_credentials() or fetch_credentials()


def _unsealed(why: str) -> Sealing:
    return Sealing(None, f"The identity is NOT kept: each start has a new one, because {why}.")
