"""Sealed state: what opens where, hand-overs cut at every write, and what a gateway makes of its identity."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.config import decode_config
from gateway.sealing import Sealing, choose_sealing, load_key
from tee.attest.mock import MockChip, load_chip_secrets
from tee.errors import Malformed, TeeError, Unavailable, Undecryptable
from tee.seal.derived_key import DerivedKeySource, why_not_isolating
from tee.seal.envelope import Facts, parse_envelope
from tee.seal.key_file import KeyFileSource
from tee.seal.sealer import EnvelopeSealer, Sealer
from tee.snp.report import GuestPolicy, parse_report
from tests.contracts.sealer import CONTRACT
from tests.worlds.sev_chip import derive_key
from tests.worlds.sev_guest import SevGuestMachine, build_shim

MODELS: dict[str, Any] = {
    "providers": [{"id": "mock", "family": "mock"}],
    "models": [{"id": "mock-1", "provider": "mock"}],
}
ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# Offsets in a report, and a value that the mock chip does not have.
POLICY, FAMILY, IMAGE, SVN, MEASUREMENT, CHIP = 0x08, 0x10, 0x20, 0x04, 0x90, 0x1A0
COMMITTED, KEY_INFO, VMPL = 0x1E0, 0x48, 0x30
OTHERS = {
    MEASUREMENT: b"\xee" * 48,
    CHIP: b"\xdd" * 64,
    POLICY: (GuestPolicy.RESERVED_ONE | GuestPolicy.SINGLE_SOCKET).to_bytes(8, "little"),
    FAMILY: b"\xcc" * 16,
    IMAGE: b"\xbb" * 16,
    VMPL: b"\x01",
}
NAMES = {
    MEASUREMENT: "measurement",
    CHIP: "chip",
    POLICY: "guest policy",
    FAMILY: "FAMILY_ID",
    IMAGE: "IMAGE_ID",
    VMPL: "VMPL",
}
OLD_TCB, NEW_TCB = bytes((10, 0, 0, 0, 0, 0, 26, 86)), bytes((10, 0, 0, 0, 0, 0, 28, 90))


@pytest.fixture(scope="module")
def chip(chip_file: Path) -> MockChip:
    return MockChip(load_chip_secrets(chip_file.parent), bytes(range(48)))


def guest(chip: MockChip, patches: dict[int, bytes] | None = None, covers: str | None = "workload") -> DerivedKeySource:
    """The derived keys of a guest on this chip, with other facts where the patches say so."""
    raw = bytearray(chip.attest(bytes(64)).report)
    for at, content in (patches or {}).items():
        raw[at : at + len(content)] = content

    def derive(*numbers: int) -> bytes:
        root, fields, vmpl, svn, tcb = numbers
        answer = derive_key(bytes(raw), struct.pack("<IIQIIQ", root, 0, fields, vmpl, svn, tcb))
        if any(answer[:4]):
            raise Unavailable("/dev/sev-guest", f"status {answer[0]:#x}", retryable=False)
        return answer[4:]

    return DerivedKeySource(parse_report(bytes(raw)), derive, covers)


def sealer(chip: MockChip, patches: dict[int, bytes] | None = None) -> EnvelopeSealer:
    return EnvelopeSealer(guest(chip, patches))


def rewritten(envelope: bytes, **facts: Any) -> bytes:
    """The envelope with other words in its first slot's header."""
    document = json.loads(envelope)
    document["slots"][0] |= facts
    return canonical(document)


def canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize("keeps", CONTRACT)
@pytest.mark.parametrize("kind", ["derived key", "file"])
def test_every_sealer_keeps_the_contract(
    kind: str, keeps: Callable[[Sealer], None], chip: MockChip, tmp_path: Path
) -> None:
    file = KeyFileSource(tmp_path / "key", "mock")
    keeps(sealer(chip) if kind == "derived key" else EnvelopeSealer(file))


# The envelope.


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "saferouter/sealed/v2"}, r"sealed\.format: found saferouter/sealed/v2"),
        ({"payload_b64": "AAAA"}, r"sealed\.payload_b64: found 3 bytes"),
        ({"payload_b64": "A"}, "another spelling"),
        ({"slots": []}, r"sealed\.slots"),
        ({"slots": {}}, r"sealed\.slots"),
        ({"slots": [1]}, "an object"),
        ({"extra": 1}, r"sealed\.extra: found an unknown member"),
    ],
)
def test_a_header_that_cannot_be_is_named(change: dict[str, Any], field: str, chip: MockChip) -> None:
    document = json.loads(sealer(chip).seal(b"x", "identity")) | change
    with pytest.raises(Malformed, match=field):
        sealer(chip).unseal(canonical(document), "identity")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wrapped_b64": "AAAA"}, "3 bytes, wanted 72 bytes"),
        ({"kind": ""}, "printable ASCII"),
        ({"kind": 7}, "printable ASCII"),
        ({"vmpl": 0.5}, "printable ASCII"),
        ({"vmpl": True}, "printable ASCII"),
        ({"vmpl": "0"}, "an integer of 32 bits"),
        ({"guest_svn": -1}, "an integer of 32 bits"),
        ({"guest_svn": 1 << 32}, "an integer of 32 bits"),
        ({"measurement": "ee"}, "96 lowercase hex"),
        ({"tcb": "00" * 7}, "16 lowercase hex"),
        ({"tcb": "00000000ff000000"}, "reserved bytes zero"),
        ({"guest_field_select": 0}, "found 0, wanted 63"),
        ({"note": "x"}, "an unknown member"),
        ({"note": "x" * 8193}, "1 to 8192 characters"),
        ({f"n{number}": 1 for number in range(16)}, "at most 16"),
    ],
)
def test_a_slot_that_cannot_be_is_named(change: dict[str, Any], words: str, chip: MockChip) -> None:
    envelope = sealer(chip).seal(b"x", "identity")
    with pytest.raises(Malformed, match=words):
        sealer(chip).unseal(rewritten(envelope, **change), "identity")


def test_an_envelope_has_one_spelling_and_a_bound(chip: MockChip) -> None:
    envelope = sealer(chip).seal(b"x", "identity")
    with pytest.raises(Malformed, match="another spelling"):
        sealer(chip).unseal(envelope + b"\n", "identity")
    with pytest.raises(Malformed, match="at most 131072"):
        sealer(chip).unseal(envelope + b" " * (128 << 10), "identity")
    document = json.loads(envelope)
    with pytest.raises(Malformed, match="1 or 2 in an array"):
        sealer(chip).unseal(canonical(document | {"slots": document["slots"] * 3}), "identity")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_whatever_a_host_writes_there_raises_nothing_but_our_errors(chip: MockChip, data: st.DataObject) -> None:
    own = sealer(chip)
    envelope = own.seal(b"secret", "identity")
    if data.draw(st.booleans()):
        at, byte = data.draw(st.integers(0, len(envelope) - 1)), data.draw(st.integers(1, 255))
        changed = envelope[:at] + bytes((envelope[at] ^ byte,)) + envelope[at + 1 :]
    else:
        document = json.loads(envelope)
        name = data.draw(st.sampled_from(sorted(document["slots"][0])))
        anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
        document["slots"][0][name] = data.draw(anything)
        changed = canonical(document)
        assume(changed != envelope)
    with pytest.raises(TeeError):
        own.unseal(changed, "identity")
    with suppress(TeeError):
        own.refresh(changed, "identity")


# The derived key.


@pytest.mark.parametrize("at", OTHERS, ids=NAMES.get)
def test_another_guest_is_told_why_and_cannot_open_it_by_a_changed_header(at: int, chip: MockChip) -> None:
    envelope = sealer(chip).seal(b"secret", "identity")
    assert sealer(chip).unseal(envelope, "identity") == b"secret"
    other = sealer(chip, {at: OTHERS[at]})
    with pytest.raises(Unavailable, match=f"sealed under another {NAMES[at]} .*or delete the file to begin anew"):
        other.unseal(envelope, "identity")
    own = parse_envelope(other.seal(b"", "identity"), "identity").slots[0].facts
    with pytest.raises(Undecryptable):
        other.unseal(rewritten(envelope, **own), "identity")


def test_the_key_comes_from_the_vcek_with_everything_mixed_in(chip: MockChip) -> None:
    asked: list[tuple[int, ...]] = []

    def derive(*numbers: int) -> bytes:
        asked.append(numbers)
        return bytes(range(32))

    report = parse_report(chip.attest(bytes(64)).report)
    DerivedKeySource(report, derive, "workload").new_secret("identity")
    tcb = int.from_bytes(report.committed_tcb, "little")
    assert asked == [(0b010, 0b111111, 0, 0, tcb)], "KEY_SEL 1 is the VCEK; a VLEK belongs to a fleet"


def test_another_product_is_told(chip: MockChip) -> None:
    turin = sealer(chip, {0x188: b"\x1a\x02"})
    with pytest.raises(Unavailable, match=r"another CPU product .product Genoa, and this guest has Turin"):
        turin.unseal(sealer(chip).seal(b"secret", "identity"), "identity")


def test_a_later_guest_svn_opens_what_an_earlier_one_sealed_and_never_the_reverse(chip: MockChip) -> None:
    later = sealer(chip, {SVN: b"\x02"})
    envelope = sealer(chip).seal(b"secret", "identity")
    assert later.unseal(envelope, "identity") == b"secret"
    with pytest.raises(Unavailable, match="GUEST_SVN 2, and this guest was launched with 0"):
        sealer(chip).unseal(later.seal(b"secret", "identity"), "identity")


def test_what_newer_firmware_sealed_is_refused_in_clear_words(chip: MockChip) -> None:
    envelope = sealer(chip, {COMMITTED: NEW_TCB}).seal(b"secret", "identity")
    old = sealer(chip, {COMMITTED: OLD_TCB})
    with pytest.raises(Unavailable, match=r"newer firmware \(.*snp 28.*has committed to \(.*snp 26.*update its firm"):
        old.unseal(envelope, "identity")
    with pytest.raises(Undecryptable):
        old.unseal(rewritten(envelope, tcb=OLD_TCB.hex()), "identity")


def upgrade_steps(chip: MockChip, first: bytes) -> list[bytes]:
    """What each write of a hand-over to the newest firmware leaves on the disk."""
    current, steps = sealer(chip, {COMMITTED: NEW_TCB}), [first]
    while (following := current.refresh(steps[-1], "identity")) is not None:
        steps.append(following)
        assert len(steps) <= 3, "a hand-over ends"
    return steps


def test_a_firmware_upgrade_is_handed_over_in_two_writes_each_of_which_opens(chip: MockChip) -> None:
    old, new = sealer(chip, {COMMITTED: OLD_TCB}), sealer(chip, {COMMITTED: NEW_TCB})
    steps = upgrade_steps(chip, old.seal(b"secret", "identity"))
    tcbs = [[slot["tcb"] for slot in json.loads(step)["slots"]] for step in steps]
    assert tcbs == [[OLD_TCB.hex()], [OLD_TCB.hex(), NEW_TCB.hex()], [NEW_TCB.hex()]]
    for step in steps:  # a crash left any one of them
        assert new.unseal(step, "identity") == b"secret"
        (slot,) = parse_envelope(upgrade_steps(chip, step)[-1], "identity").slots
        assert slot.facts["tcb"] == NEW_TCB.hex()
    assert [opens(old, step) for step in steps] == [True, True, False]


@pytest.mark.parametrize("cut_before", [True, False])
@pytest.mark.parametrize("writes", [0, 1])
def test_a_crash_at_any_write_of_a_hand_over_keeps_the_identity(
    writes: int, cut_before: bool, chip: MockChip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (Sealing(sealer(chip, {COMMITTED: tcb}), "") for tcb in (OLD_TCB, NEW_TCB))
    first = bytes(load_key(tmp_path, "identity", before))
    done = 0

    def cut(source: Path, target: Path) -> None:
        """The machine stops just before, or just after, the rename of one write."""
        nonlocal done
        done += 1
        if done <= writes or not cut_before:
            source.rename(target)
        if done > writes:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(Path, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            load_key(tmp_path, "identity", after)
    assert bytes(load_key(tmp_path, "identity", after)) == first
    (slot,) = parse_envelope((tmp_path / "identity.sealed").read_bytes(), "identity").slots
    assert slot.facts["tcb"] == NEW_TCB.hex()


def opens(tried: Sealer, envelope: bytes) -> bool:
    try:
        return tried.unseal(envelope, "identity") == b"secret"
    except TeeError:
        return False


def test_a_second_upgrade_in_the_midst_of_a_hand_over_loses_nothing(chip: MockChip) -> None:
    middle = bytes((10, 0, 0, 0, 0, 0, 27, 86))
    first = sealer(chip, {COMMITTED: OLD_TCB}).seal(b"secret", "identity")
    halfway = sealer(chip, {COMMITTED: middle}).refresh(first, "identity")
    assert halfway is not None and len(json.loads(halfway)["slots"]) == 2
    *_, last = upgrade_steps(chip, halfway)
    assert [slot["tcb"] for slot in json.loads(last)["slots"]] == [NEW_TCB.hex()]
    assert sealer(chip, {COMMITTED: NEW_TCB}).unseal(last, "identity") == b"secret"


def test_the_old_slot_stays_until_the_new_one_has_opened(chip: MockChip) -> None:
    _, both, _ = upgrade_steps(chip, sealer(chip, {COMMITTED: OLD_TCB}).seal(b"secret", "identity"))
    document = json.loads(both)
    broken = document["slots"][1]
    document["slots"][1] = broken | {"wrapped_b64": document["slots"][0]["wrapped_b64"]}
    *_, mended, last = upgrade_steps(chip, canonical(document))
    assert len(json.loads(mended)["slots"]) == 2
    assert sealer(chip, {COMMITTED: NEW_TCB}).unseal(last, "identity") == b"secret"


class Fickle:
    """Firmware that answers with another key each time."""

    def __init__(self) -> None:
        self.asked = 0

    def new_secret(self, _purpose: str) -> tuple[Facts, bytes]:
        return {"kind": "fickle"}, self.secret_of({}, "")

    def secret_of(self, _facts: Facts, _purpose: str) -> bytes:
        self.asked += 1
        return bytes((self.asked,)) * 32

    def is_current(self, _facts: Facts) -> bool:
        return True


def test_nothing_is_sealed_under_a_key_that_does_not_come_back() -> None:
    with pytest.raises(Unavailable, match="gave another key when asked again"):
        EnvelopeSealer(Fickle()).seal(b"secret", "identity")


@pytest.mark.parametrize(
    ("patches", "covers", "words"),
    [
        ({KEY_INFO: b"\x04"}, "workload", "a VLEK signs this machine's reports"),
        ({CHIP: bytes(64)}, "workload", "hides which chip"),
        ({POLICY: (GuestPolicy.RESERVED_ONE | GuestPolicy.DEBUG).to_bytes(8, "little")}, "workload", "debugging"),
        ({POLICY: (GuestPolicy.RESERVED_ONE | GuestPolicy.MIGRATE_MA).to_bytes(8, "little")}, "workload", "migration"),
        ({VMPL: b"\xff" * 4}, "workload", "not made by the guest"),
        ({0x188: b"\x19\x77"}, "workload", "names no CPU"),
        ({}, "firmware", "covers the firmware alone"),
        ({}, None, r"nobody has said .*sealing\.measurement_covers"),
        ({}, "", "nobody has said"),
    ],
)
def test_where_a_derived_key_isolates_nothing_it_is_refused(
    patches: dict[int, bytes], covers: str | None, words: str, chip: MockChip
) -> None:
    with pytest.raises(Unavailable, match=f"{words}.*Seal with a key of AWS KMS .* or through a broker instead"):
        guest(chip, patches, covers)


def test_reports_that_name_no_cpu_are_refused(chip: MockChip) -> None:
    patches = {0: b"\x02", 0x188: bytes(3), 0x1F8: bytes(16)}
    with pytest.raises(Unavailable, match="names no CPU"):
        guest(chip, patches)


# The file of the mock.


def test_a_key_file_is_the_mocks_alone(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="for the mock alone, and the attester is sev_snp"):
        KeyFileSource(tmp_path / "key", "sev_snp")
    assert not (tmp_path / "key").exists()


def test_a_key_file_is_private_whole_and_unprinted(tmp_path: Path) -> None:
    path = tmp_path / "key"
    source = KeyFileSource(path, "mock")
    assert path.stat().st_mode & 0o777 == 0o600
    assert repr(source) == "KeyFileSource()"
    path.chmod(0o640)
    with pytest.raises(Unavailable, match="mode 0640 lets others read it: chmod 600"):
        KeyFileSource(path, "mock")
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(Unavailable, match="5 bytes, wanted 32"):
        KeyFileSource(path, "mock")
    path.unlink()
    path.mkdir()
    with pytest.raises(Unavailable, match="Is a directory"):
        KeyFileSource(path, "mock")


def test_what_hardware_sealed_the_mock_refuses_in_words(chip: MockChip, tmp_path: Path) -> None:
    envelope = sealer(chip).seal(b"secret", "identity")
    file = EnvelopeSealer(KeyFileSource(tmp_path / "key", "mock"))
    with pytest.raises(Unavailable, match="sealed under snp-derived-key, and the mock cannot open it"):
        file.unseal(envelope, "identity")
    with pytest.raises(Unavailable, match="sealed under mock-file, and this guest seals with snp-derived-key"):
        sealer(chip).unseal(file.seal(b"secret", "identity"), "identity")


# The gateway's identity on the mock.


def config(state: Path, **sealing: Any) -> Any:
    return decode_config({**MODELS, "state": str(state), "sealing": sealing}, {})


def mock_identity(state: Path, **sealing: Any) -> bytes:
    loaded = config(state, **sealing)
    return bytes(load_key(state, "identity", choose_sealing(loaded, "mock")))


def test_the_mocks_identity_persists_sealed(tmp_path: Path) -> None:
    first = mock_identity(tmp_path)
    assert mock_identity(tmp_path) == first
    assert {path.name for path in tmp_path.iterdir()} == {"identity.sealed", "mock-sealing.key"}
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert first not in path.read_bytes()
    (tmp_path / "mock-sealing.key").unlink()
    with pytest.raises(Unavailable, match=r"identity\.sealed: does not open.*delete it to start with a new key"):
        mock_identity(tmp_path)


def test_the_mock_adopts_the_identity_of_an_earlier_release(tmp_path: Path) -> None:
    plain, seed = tmp_path / "identity.key", bytes(range(32))
    plain.write_bytes(seed)
    assert mock_identity(tmp_path) == seed
    assert not plain.exists()
    plain.write_bytes(seed)  # a crash between the two writes
    assert mock_identity(tmp_path) == seed
    assert not plain.exists()
    plain.write_bytes(bytes(32))
    with pytest.raises(Malformed, match="another key"):
        mock_identity(tmp_path)
    assert plain.exists()


def test_a_broken_identity_of_an_earlier_release_is_named(tmp_path: Path) -> None:
    (tmp_path / "identity.key").write_bytes(b"short")
    with pytest.raises(Malformed, match="5 bytes"):
        mock_identity(tmp_path)


def test_an_identity_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "identity.sealed").mkdir()
    with pytest.raises(Unavailable, match=r"identity\.sealed: Is a directory"):
        mock_identity(tmp_path)


def test_none_keeps_nothing(tmp_path: Path) -> None:
    chosen = choose_sealing(config(tmp_path, kind="none"), "mock")
    assert chosen.reason == "The identity is NOT kept: each start has a new one, because `sealing.kind` is none."
    assert mock_identity(tmp_path, kind="none") != mock_identity(tmp_path, kind="none")
    assert not list(tmp_path.iterdir())


def test_without_a_nitrotpm_the_key_service_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="needs a NitroTPM attestation document"):
        choose_sealing(config(tmp_path, kind="kms", kms_key_arn=ARN), "mock")


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({"kind": "file"}, r"sealing\.kind: found 'file', wanted auto, kms or none"),
        ({"kind": "kms"}, r"sealing\.kms_key_arn: found nothing"),
        ({"kms_key_arn": "arn:aws:kms:eu-west-1:111122223333:alias/x"}, "a key, no alias"),
        ({"kms_key_arn": ARN, "kms_endpoint": "http://kms.example"}, r"sealing\.kms_endpoint"),
        ({"kms_key_arn": ARN, "kms_endpoint": "https://kms.example/path"}, r"sealing\.kms_endpoint"),
        ({"measurement_covers": "everything"}, r"sealing\.measurement_covers"),
        ({"key": 1}, "an unknown name"),
    ],
)
def test_a_wrong_table_is_refused_by_name(table: dict[str, Any], field: str, tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=field):
        config(tmp_path, **table)


def test_sealing_steers_and_so_it_is_attested(tmp_path: Path) -> None:
    tables: list[dict[str, Any]] = [
        {},
        {"kind": "none"},
        {"kms_key_arn": ARN},
        {"kms_key_arn": ARN, "kms_endpoint": "https://kms.example"},
        {"measurement_covers": "firmware"},
    ]
    assert len({config(tmp_path, **table).digests()["settings"] for table in tables}) == len(tables)
    assert config(tmp_path, kms_key_arn=ARN).sealing.kms_key.endpoint == "https://kms.eu-west-1.amazonaws.com"


# The gateway's identity on a machine with the device.


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory, chip: MockChip) -> Iterator[SevGuestMachine]:
    with SevGuestMachine(chip, build_shim(tmp_path_factory.mktemp("shim"))) as world:
        yield world


def start(machine: SevGuestMachine, state: Path, script: str = "ok", **sealing: Any) -> dict[str, Any]:
    table = {"measurement_covers": "workload"} | sealing
    (answer,) = machine.drive(script, str(state), json.dumps(table), driver="sealing_driver")
    return answer


def test_a_guest_keeps_its_identity_over_restarts_and_firmware_upgrades(
    machine: SevGuestMachine, tmp_path: Path
) -> None:
    machine.patches = {COMMITTED: OLD_TCB}
    first = start(machine, tmp_path)
    assert "sealed to this chip, launch measurement and firmware" in first["reason"]
    assert start(machine, tmp_path)["seed"] == first["seed"]
    assert [path.name for path in tmp_path.iterdir()] == ["identity.sealed"]
    machine.patches = {COMMITTED: NEW_TCB}
    assert start(machine, tmp_path)["seed"] == first["seed"]
    (slot,) = parse_envelope((tmp_path / "identity.sealed").read_bytes(), "identity").slots
    assert slot.facts["tcb"] == NEW_TCB.hex()
    machine.patches = {COMMITTED: OLD_TCB}
    assert "sealed under newer firmware" in start(machine, tmp_path)["text"]


@pytest.mark.parametrize("at", [MEASUREMENT, CHIP, POLICY], ids=NAMES.get)
def test_another_guest_does_not_get_the_identity(at: int, machine: SevGuestMachine, tmp_path: Path) -> None:
    first = start(machine, tmp_path)
    kept = (tmp_path / "identity.sealed").read_bytes()
    machine.patches = {at: OTHERS[at]}
    answer = start(machine, tmp_path)
    assert "seed" not in answer and f"sealed under another {NAMES[at]}" in answer["text"]
    assert (tmp_path / "identity.sealed").read_bytes() == kept, "and it is not overwritten"
    machine.patches = {}
    assert start(machine, tmp_path)["seed"] == first["seed"]


def test_a_device_that_fails_stops_the_start_and_keeps_nothing(machine: SevGuestMachine, tmp_path: Path) -> None:
    for script, words in (
        ("ok,zero-key", "a derived key of zeros"),
        ("ok,status:0x16", "status 0x16"),
        ("dead", "EIO"),
    ):
        answer = start(machine, tmp_path, script)
        assert answer["error"] == ("DeviceDead" if script == "dead" else "Unavailable") and words in answer["text"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("patches", "table", "words"),
    [
        ({KEY_INFO: b"\x04", CHIP: bytes(64)}, {}, "a VLEK signs this machine's reports"),
        ({}, {"measurement_covers": "firmware"}, "covers the firmware alone"),
    ],
)
def test_where_nothing_isolates_the_identity_lasts_one_boot(
    patches: dict[int, bytes], table: dict[str, str], words: str, machine: SevGuestMachine, tmp_path: Path
) -> None:
    machine.patches = patches
    first, second = (start(machine, tmp_path, **table) for _ in range(2))
    assert first["reason"].startswith("The identity is NOT kept") and words in first["reason"]
    assert first["seed"] != second["seed"]
    assert not list(tmp_path.iterdir()), "nothing lies on the disk"
    refused = start(machine, tmp_path, **table, kms_key_arn=ARN)
    assert "needs a NitroTPM attestation document" in refused["text"], "a configured key is never passed over"


def test_an_identity_that_lay_in_plain_is_not_used_on_hardware(machine: SevGuestMachine, tmp_path: Path) -> None:
    (tmp_path / "identity.key").write_bytes(bytes(32))
    for table in ({}, {"kind": "none"}):
        answer = start(machine, tmp_path, **table)
        assert "where the host could read it: delete it to start with a new one" in answer["text"]


def test_the_reasons_are_none_only_where_a_key_isolates(chip: MockChip) -> None:
    assert why_not_isolating(parse_report(chip.attest(bytes(64)).report), "workload") is None
