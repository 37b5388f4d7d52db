"""The driver of /dev/sev-guest: packed bytes, every failure of the kernel and the host, and what an operator reads."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tee.attest import sev_guest
from tee.attest.detect import no_other_source
from tee.attest.mock import MockChip, load_chip_secrets
from tee.attest.sev_guest import SevGuestDevice
from tee.errors import DeviceDead, Unavailable
from tee.evidence import Endorsements
from tee.snp.collateral import Collateral, complete_endorsements
from tee.snp.report import AttestationReport, SigningKey, parse_report
from tests.worlds.gateway import free_port
from tests.worlds.sev_chip import GUIDS, MEASUREMENT, certificate_table
from tests.worlds.sev_guest import SevGuestMachine, build_shim

DEVICE = "/dev/sev-guest"
COMMAND = Path(sys.executable).parent / "saferouter"


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def chip(chip_file: Path) -> MockChip:
    return MockChip(load_chip_secrets(chip_file.parent), MEASUREMENT)


@pytest.fixture
def machine(shim: Path, chip: MockChip) -> Iterator[SevGuestMachine]:
    with SevGuestMachine(chip, shim) as world:
        yield world


def test_the_ioctl_codes_follow_from_the_structs() -> None:
    codes = (sev_guest.GET_REPORT, sev_guest.GET_DERIVED_KEY, sev_guest.GET_EXT_REPORT)
    assert codes == (0xC0205300, 0xC0205301, 0xC0205302)


@pytest.mark.parametrize(
    ("layout", "size", "offsets"),
    [
        (
            sev_guest.GuestRequest,
            32,
            {"msg_version": 0, "req_data": 8, "resp_data": 16, "fw_error": 24, "vmm_error": 28},
        ),
        (sev_guest.ReportRequest, 96, {"user_data": 0, "vmpl": 64, "rsvd": 68}),
        (sev_guest.ExtendedReportRequest, 112, {"data": 0, "certs_address": 96, "certs_len": 104}),
        (sev_guest.ReportResponse, 4000, {"status": 0, "report_size": 4, "rsvd": 8, "report": 32, "unused": 1216}),
        (
            sev_guest.DerivedKeyRequest,
            32,
            {"root_key_select": 0, "rsvd": 4, "guest_field_select": 8, "vmpl": 16, "guest_svn": 20, "tcb_version": 24},
        ),
        (sev_guest.DerivedKeyResponse, 64, {"status": 0, "rsvd": 4, "key": 32}),
    ],
)
def test_the_structs_are_those_of_the_kernel(
    layout: type[ctypes.Structure], size: int, offsets: dict[str, int]
) -> None:
    assert ctypes.sizeof(layout) == size
    assert {name: getattr(layout, name).offset for name, *_ in layout._fields_} == offsets


def test_numbers_that_would_be_cut_are_refused() -> None:
    device = SevGuestDevice(Path(os.devnull))
    for arguments in ((6, 0, 0, 0, 0), (0, 64, 0, 0, 0), (0, 0, 4, 0, 0), (0, 0, 0, 2**32, 0), (0, 0, 0, 0, 2**64)):
        with pytest.raises(ValueError, match="wanted 0 to"):
            device.get_derived_key(*arguments)
    with pytest.raises(ValueError, match="vmpl: -1"):
        device.get_report(bytes(64), vmpl=-1)
    for size in (0, 4095, 5000, 0x5000):
        with pytest.raises(ValueError, match="whole pages"):
            SevGuestDevice(Path(os.devnull), size)


def test_a_file_that_is_no_such_device_is_dead_at_once() -> None:
    device = SevGuestDevice(Path(os.devnull))
    for _ in range(2):
        with pytest.raises(DeviceDead, match=r"/dev/null: takes no requests \(ENOTTY\).*or this is not the SEV-SNP"):
            device.get_report(bytes(64))


def test_a_device_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"nothing here: cannot be opened: No such file"):
        SevGuestDevice(tmp_path / "nothing here")


def test_reports_and_tables_arrive_byte_for_byte(machine: SevGuestMachine) -> None:
    plain, extended, other_vmpl = machine.drive("ok", "report:7", "extended:8", "report:9:3")
    assert bytes.fromhex(plain["report"])[0x50:0x90] == b"\x07" * 64
    assert bytes.fromhex(extended["report"])[0x50:0x90] == b"\x08" * 64
    assert bytes.fromhex(extended["table"]) == machine.table.ljust(0x4000, b"\0")
    assert "report" in other_vmpl
    assert machine.requests() == ["report 0", "extended 16384", "report 0"]
    assert machine.levels() == [0, 0, 3]


def test_a_derived_key_request_is_packed_as_the_kernel_reads_it(machine: SevGuestMachine) -> None:
    (answer,) = machine.drive("key-echo", f"key:5:0x3f:3:0xa1b2c3d4:{0x0102030405060708:#x}")
    request = bytes(byte ^ 0x5A for byte in bytes.fromhex(answer["key"]))
    assert request == struct.pack("<IIQIIQ", 5, 0, 0x3F, 3, 0xA1B2C3D4, 0x0102030405060708)


def test_the_device_keeps_the_contract_of_every_attester(machine: SevGuestMachine) -> None:
    assert machine.drive("ok", "contract") == [{"tee_type": "sev_snp"}]


def test_a_larger_table_is_asked_for_once_and_remembered(machine: SevGuestMachine) -> None:
    assert 4096 < len(machine.table) <= 8192
    first, second = machine.drive("ok", "--pages", "1", "extended:1", "extended:2")
    assert "error" not in first | second
    assert machine.requests() == ["extended 4096", "extended 8192", "extended 8192"]


def test_the_hosts_named_size_is_used(machine: SevGuestMachine) -> None:
    (answer,) = machine.drive("too-small:0x3000,ok", "extended:1")
    assert bytes.fromhex(answer["table"]) == machine.table.ljust(0x3000, b"\0")
    assert machine.requests() == ["extended 16384", "extended 12288"]


def test_a_host_that_never_has_enough_is_asked_twice(machine: SevGuestMachine) -> None:
    answers = machine.drive("too-small:0x4000", "extended:1")
    _expect(answers, "refuses a buffer of 16384 bytes", "Have the host's operator load the table again")
    assert len(machine.requests()) == 2


@pytest.mark.parametrize("size", ["0", "0x5000", "0x1001", "0xfffff000"])
def test_an_absurd_size_is_not_followed(machine: SevGuestMachine, size: str) -> None:
    answers = machine.drive(f"too-small:{size},ok", "extended:1")
    _expect(answers, f"needs {int(size, 0)} bytes", "Have the host's operator load a smaller table")
    (_, after) = machine.drive(f"too-small:{size},ok", "extended:1", "extended:2")
    assert "report" in after, "the device is not dead from that"


@pytest.mark.parametrize("step", ["busy", "timeout"])
@pytest.mark.parametrize("verb", ["report:1", "extended:1", "key:0:0:0:0:0"])
def test_a_throttled_request_may_be_tried_again(machine: SevGuestMachine, step: str, verb: str) -> None:
    busy, after = machine.drive(f"{step},ok", verb, "report:2")
    _expect([busy], "the host is too busy", "Try again in a minute", retryable=True)
    assert "report" in after


@pytest.mark.parametrize("verb", ["report:1", "extended:1", "key:0:0:0:0:0"])
def test_after_any_other_failure_the_device_is_left_alone(machine: SevGuestMachine, verb: str) -> None:
    answers = machine.drive("dead", verb, "report:2", "extended:3", "key:0:0:0:0:0", "attest:4")
    _expect(answers, "failed with EIO (firmware error 0x1d, host error 0)", "until the guest is rebooted")
    assert len(machine.requests()) == 1


def test_a_key_that_another_process_has_lost_is_known_by_enotty(machine: SevGuestMachine) -> None:
    busy, *answers = machine.drive("timeout,dead", "report:1", "report:2", "report:3")
    assert busy["retryable"] is True
    _expect(answers, "until the guest is rebooted")
    assert len(machine.requests()) == 2


@pytest.mark.parametrize("verb", ["report:1", "key:0:0:0:0:0"])
def test_a_host_that_blames_a_table_which_nobody_asked_for_has_failed(machine: SevGuestMachine, verb: str) -> None:
    answers = machine.drive("blame,ok", verb, "report:2")
    _expect(answers, "failed with EIO (firmware error 0x0, host error 1)", "until the guest is rebooted")
    assert len(machine.requests()) == 1


@pytest.mark.parametrize(
    ("script", "step", "words"),
    [
        ("status:0x16", "report:1", ("status 0x16 (invalid parameter) and not a report", "VMPL 0 may be more")),
        ("status:0x16", "attest:1", ("status 0x16 (invalid parameter) and not a report", "VMPL 0 may be more")),
        ("status:0x27", "extended:1", ("status 0x27 (the key that was selected is not available)",)),
        ("status:0x99", "report:1", ("status 0x99 (not a status that is known here)",)),
        ("size:1183", "report:1", ("a report of 1183 bytes, wanted 1184", "Update SafeRouter")),
        ("size:4294967295", "attest:1", ("a report of 4294967295 bytes, wanted 1184",)),
        ("no-echo", "report:1", ("other report data than was asked for", "Trust nothing")),
        ("no-echo", "attest:1", ("other report data than was asked for", "Trust nothing")),
        ("zero-key", "key:0:0:0:0:0", ("a derived key of zeros", "guest_svn or tcb_version")),
        ("status:0x16", "key:0:0:0:9:0", ("status 0x16 (invalid parameter) and not a key", "guest_svn or tcb_version")),
        ("status:0x27", "key:4:0:0:0:0", ("status 0x27 (the key that was selected is not available) and not a key",)),
    ],
)
def test_an_answer_that_is_none_is_refused(
    machine: SevGuestMachine, script: str, step: str, words: tuple[str, ...]
) -> None:
    answers = machine.drive(f"{script},ok", step, "report:2")
    _expect(answers[:1], *words)
    assert "report" in answers[1], "the device is not dead from that"


def test_a_device_of_root_alone_says_what_to_do(machine: SevGuestMachine) -> None:
    _expect(machine.drive(f"open:{errno.EACCES}", "report:1"), "Permission denied", 'KERNEL=="sev-guest"')


LIES: dict[str, Callable[[bytes], bytes]] = {
    "an offset beyond the table": lambda table: table[:16] + (0x3FFF).to_bytes(4, "little") + table[20:],
    "a length that wraps around": lambda table: table[:20] + b"\xff" * 4 + table[24:],
    "no end": lambda _: b"\x01" * 0x4000,
    "a certificate that is none": lambda _: certificate_table({"vcek": b"not DER and not PEM"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_table_that_lies_is_the_hosts_fault(machine: SevGuestMachine, lie: str) -> None:
    machine.table = LIES[lie](machine.table)
    _expect(machine.drive("ok", "attest:1"), "the host's certificate table is broken", "host's operator load it again")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ((), ("no VCEK and ASK and ARK", "it holds nothing")),
        (("vcek",), ("no ASK and ARK", "it holds VCEK)")),
        (("vcek", "ark", "crl"), ("no ASK:", "it holds VCEK, ARK, CRL)")),
        (("vlek", "ask", "ark"), ("no VCEK:", "it holds VLEK, ASK, ARK)")),
    ],
)
def test_a_missing_certificate_is_named_and_where_it_was_looked_for(
    machine: SevGuestMachine, held: tuple[str, ...], words: tuple[str, ...]
) -> None:
    machine.table = certificate_table({name: machine.certificates.get(name, b"\x30\x00") for name in held})
    answers = machine.drive("ok", "attest:1")
    _expect(answers, *words, "no other source was given", "Have the host's operator add the missing")


def test_a_table_without_a_revocation_list_is_enough(machine: SevGuestMachine) -> None:
    machine.table = certificate_table({name: machine.certificates[name] for name in ("vcek", "ask", "ark")})
    assert "report" in machine.drive("ok", "attest:1")[0]


def test_the_device_comes_before_the_mock(machine: SevGuestMachine) -> None:
    plain, with_mock = machine.drive("ok", "detect", "detect-mock")
    assert plain["tee_type"] == "sev_snp"
    assert plain["reason"].startswith(f"SEV-SNP attester, because {DEVICE} exists; not by /sys/kernel/config/")
    assert with_mock["tee_type"] == "sev_snp"
    assert with_mock["reason"].endswith("; --insecure-mock was given and is not used")
    answers = machine.drive(f"open:{errno.EACCES}", "detect", "detect-mock")
    _expect(answers, "cannot be opened: Permission denied")


def test_a_gateway_does_not_start_without_its_certificates(machine: SevGuestMachine, tmp_path: Path) -> None:
    machine.table = certificate_table({"vlek": machine.certificates["vcek"]})
    code, words = _serve(machine, tmp_path)
    assert code == 3
    assert f"saferouter: {DEVICE}: its report is signed by a VCEK" in words
    assert "there is no VCEK and ASK and ARK" in words
    assert "Traceback" not in words


def test_a_mock_behind_the_real_device_is_not_believed(machine: SevGuestMachine, tmp_path: Path) -> None:
    code, words = _serve(machine, tmp_path)
    assert code == 3
    assert "its own report does not verify: Rejected: hw.root failed" in words
    assert "Traceback" not in words


def test_a_dead_device_ends_the_start(machine: SevGuestMachine, tmp_path: Path) -> None:
    code, words = _serve(machine, tmp_path, script="dead")
    assert code == 3
    assert "until the guest is rebooted" in words
    assert "Traceback" not in words


def _serve(machine: SevGuestMachine, folder: Path, script: str = "ok") -> tuple[int, str]:
    """A gateway that may use the mock, on a machine with a device: exit code, and what the operator reads."""
    environ = machine.environ(script) | {"PORT": str(free_port())}
    config = folder / "gateway.toml"
    tables = 'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'
    config.write_text(f'kds_url = ""\n{tables}')
    command = [str(COMMAND), "serve", "--insecure-mock", "--demo", "--config", str(config)]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def _expect(answers: list[dict[str, Any]], *words: str, retryable: bool = False) -> None:
    for answer in answers:
        dead = "until the guest is rebooted" in words[-1]
        assert answer.get("error") == ("DeviceDead" if dead else "Unavailable"), answer
        assert answer["text"].startswith(f"{DEVICE}: ")
        assert answer["retryable"] is retryable
        for word in words:
            assert word in answer["text"]


@pytest.fixture(scope="module")
def report(chip: MockChip) -> AttestationReport:
    return parse_report(chip.attest(bytes(64)).report)


FULL = {name: name.encode() for name in GUIDS}


def test_the_report_says_which_signer_is_meant(report: AttestationReport) -> None:
    vlek = replace(report, signing_key=SigningKey.VLEK)
    assert complete_endorsements(report, FULL, no_other_source, DEVICE).vek == b"vcek"
    assert complete_endorsements(vlek, FULL, no_other_source, DEVICE).vek == b"vlek"
    with pytest.raises(Unavailable, match=r"signed by a VLEK.* there is no ASVK and ARK: "):
        complete_endorsements(vlek, {"vlek": b"vlek"}, no_other_source, DEVICE)


def test_another_source_completes_and_mends(report: AttestationReport) -> None:
    def other(asked: AttestationReport, _held: Collateral) -> Collateral:
        assert asked is report
        return Collateral("a drawer", b"other vek", b"other ask", b"other ark", b"other crl")

    found = {"vcek": b"vcek", "ark": b"ark"}
    all_others = Endorsements(b"other vek", b"other ask", b"other ark", b"other crl")
    assert complete_endorsements(report, found, other, DEVICE) == all_others
    assert complete_endorsements(report, {}, other, DEVICE) == all_others
    silent = replace(other(report, Collateral("")), vek=None, crl=None)
    mended = complete_endorsements(report, found, lambda _report, _held: silent, DEVICE)
    assert mended == Endorsements(b"vcek", b"other ask", b"other ark", None)
    half = replace(silent, ark=None)
    with pytest.raises(Unavailable, match=r"there is no ARK: looked in .*\(it holds VCEK\) and a drawer\."):
        complete_endorsements(report, {"vcek": b"vcek"}, lambda _report, _held: half, DEVICE)
