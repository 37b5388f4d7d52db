"""configfs-tsm: the kernel's rules, every failure of kernel, host and neighbours, and which attester a machine gets."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.build import source_digest
from tee.attest.configfs_tsm import ConfigfsTsm
from tee.attest.mock import ChipSecrets, load_chip_secrets, mock_measurement
from tests.worlds.configfs_tsm import Folder, TsmMachine, build_tsm_shim
from tests.worlds.gateway import free_port, run_cli
from tests.worlds.sev_guest import build_shim

TREE = "/sys/kernel/config/tsm/report"
COMMAND = Path(sys.executable).parent / "saferouter"


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tsm_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def secret(chip_file: Path) -> ChipSecrets:
    return load_chip_secrets(chip_file.parent)


@pytest.fixture
def machine(shim: Path, secret: ChipSecrets) -> Iterator[TsmMachine]:
    with TsmMachine(secret, mock_measurement(source_digest()), shim) as world:
        yield world


def test_reports_and_tables_arrive_byte_for_byte_and_nothing_stays(machine: TsmMachine) -> None:
    first, second = machine.drive("report:7", "report:8")
    assert bytes.fromhex(first["report"])[0x50:0x90] == b"\x07" * 64
    assert bytes.fromhex(second["report"])[0x50:0x90] == b"\x08" * 64
    assert bytes.fromhex(first["table"]) == machine.table
    assert first["level"] == 0
    assert machine.folders == []
    assert machine.reports == 2, "the start costs no report"


def test_it_keeps_the_contract_of_every_attester(machine: TsmMachine) -> None:
    assert machine.drive("contract") == [{"tee_type": "sev_snp"}]


def test_under_an_svsm_reports_are_of_the_guests_level(machine: TsmMachine) -> None:
    machine.floor = 2
    lowest, chosen = machine.drive("report:1") + machine.drive("--level", "3", "report:1")
    assert (bytes.fromhex(lowest["report"])[0x30], lowest["level"]) == (2, 2)
    assert (bytes.fromhex(chosen["report"])[0x30], chosen["level"]) == (3, 3)
    assert machine.drive("contract") == [{"tee_type": "sev_snp"}]
    answers = machine.drive("--level", "1", "report:1")
    _expect(answers, "this guest may name VMPL 2 to 3, wanted VMPL 1: an SVSM keeps the others")
    assert machine.folders == []


def test_no_level_but_the_four_is_asked_for(tmp_path: Path) -> None:
    for level in (-1, 4):
        with pytest.raises(ValueError, match="wanted 0 to 3"):
            ConfigfsTsm(tmp_path, level)


def _nothing(_: Folder) -> None:
    pass


def _another_nonce(folder: Folder) -> None:
    folder.store("inblob", b"\xee" * 64)


def _another_level(folder: Folder) -> None:
    folder.store("privlevel", b"3")


def _a_service(folder: Folder) -> None:
    folder.store("service_provider", b"svsm")


def _stale(folder: Folder) -> None:
    folder.store("inblob", folder.values.get("inblob", bytes(64)))  # the same bytes: only the count shows it


@pytest.mark.parametrize("intruder", [_another_nonce, _another_level, _a_service, _stale])
@pytest.mark.parametrize(
    ("moment", "calm"),  # after which operation, and how many of these nobody follows
    [("write privlevel", 1), ("write inblob", 0), ("read generation", 1), ("read outblob", 0), ("read auxblob", 0)],
)
def test_an_intruder_is_noticed_and_the_request_made_again(
    machine: TsmMachine, moment: str, calm: int, intruder: Callable[[Folder], None]
) -> None:
    machine.intrusions[moment] = iter([*[_nothing] * calm, intruder])
    (answer,) = machine.drive("report:7")
    assert bytes.fromhex(answer["report"])[0x50:0x90] == b"\x07" * 64
    assert bytes.fromhex(answer["report"])[0x30] == 0
    assert machine.log.count("mkdir") == 3, "the start, the spoilt request, the good one"
    assert machine.folders == []


def test_a_report_of_an_svsms_services_is_never_taken_for_ours(machine: TsmMachine) -> None:
    """Asked for by an intruder who comes before the first count, so that only the report shows it."""
    machine.floor = 2
    machine.intrusions["read provider"] = iter([_nothing, _a_service])
    _expect(machine.drive("report:7"), "over other report data than was asked for. Trust nothing")
    assert machine.reports == 1


def test_an_intruder_who_stays_is_told_of_and_gets_no_more_than_three_reports(machine: TsmMachine) -> None:
    machine.intrusions["read outblob"] = itertools.repeat(_another_nonce)
    answers = machine.drive("report:7")
    _expect(answers, "no report in 3 tries: generation did not count our two writes alone", retryable=True)
    assert machine.log.count("read outblob") == 3
    assert machine.folders == []


def test_a_write_that_the_kernel_lost_costs_no_report(machine: TsmMachine) -> None:
    machine.lose_inblob = True
    _expect(machine.drive("report:7"), "generation did not count our two writes alone", retryable=True)
    assert machine.reports == 0


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN])
@pytest.mark.parametrize("operation", ["read outblob", "write privlevel", "open inblob", "mkdir", "rmdir"])
def test_a_passing_failure_is_tried_again_three_times(machine: TsmMachine, operation: str, number: int) -> None:
    calm = [] if operation == "read outblob" or operation == "open inblob" else [0]  # the start does the others too
    machine.plan[operation] = iter([*calm, number, number, 0])
    assert "report" in machine.drive("report:7")[0]
    machine.plan[operation] = itertools.chain(calm, itertools.repeat(number))
    words = f"({errno.errorcode[number]}). Try again in a moment"
    _expect(machine.drive("report:7"), "no report in 3 tries: ", words, retryable=True)


def test_an_interrupted_call_is_made_again(machine: TsmMachine) -> None:
    machine.plan["read outblob"] = iter([errno.EINTR] * 5)
    machine.plan["write privlevel"] = iter([errno.EINTR] * 5)
    machine.plan["mkdir"] = iter([0, errno.EINTR])
    assert "report" in machine.drive("report:7")[0]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTTY, errno.EBADMSG])
@pytest.mark.parametrize("attribute", ["outblob", "auxblob"])
def test_a_lost_message_key_is_the_end_and_remembered(machine: TsmMachine, attribute: str, number: int) -> None:
    machine.plan[f"read {attribute}"] = iter([number])
    first, *later = machine.drive("report:1", "report:2", "attest:3")
    for answer in (first, *later):
        assert (answer["error"], answer["retryable"]) == ("DeviceDead", False)
        assert f"{TREE}: {attribute}: " in answer["text"]
        assert f"({errno.errorcode[number]})" in answer["text"]
        assert "until the guest is rebooted" in answer["text"]
    assert machine.log.count("mkdir") == 2, "after it the kernel is left alone"
    assert machine.folders == []


def test_a_key_that_another_process_has_lost_is_known_by_enotty(machine: TsmMachine) -> None:
    machine.key_is_gone = True
    (answer,) = machine.drive("report:1")
    assert answer["error"] == "DeviceDead"
    assert "(ENOTTY)" in answer["text"]


def test_a_lost_message_key_is_remembered_where_the_folder_stays_too(machine: TsmMachine) -> None:
    machine.plan["read outblob"] = iter([errno.EIO])
    machine.plan["rmdir"] = iter([0, errno.ENOMEM])
    first, second = machine.drive("report:1", "report:2")
    assert (first["error"], second["error"]) == ("DeviceDead", "DeviceDead")


def test_a_throttling_host_may_be_asked_again(machine: TsmMachine) -> None:
    machine.plan["read outblob"] = iter([errno.ETIMEDOUT])
    busy, after = machine.drive("report:1", "report:2")
    _expect(
        [busy],
        "outblob: Connection timed out (ETIMEDOUT): the host is too busy",
        "Try again in a minute",
        retryable=True,
    )
    assert "report" in after
    assert machine.log.count("read outblob") == 2, "not at once: the kernel has waited a minute already"


@pytest.mark.parametrize(
    ("operation", "number", "words"),
    [
        ("read outblob", errno.EINVAL, "outblob: Invalid argument (EINVAL). The firmware or the kernel refuses"),
        ("read outblob", errno.ENXIO, "outblob: No such device or address (ENXIO)"),
        ("read auxblob", errno.EFBIG, "auxblob: File too large (EFBIG). The kernel passes on no more"),
        ("read outblob", errno.ENOENT, "outblob: No such file or directory (ENOENT). Another process removed"),
        ("open auxblob", errno.ENOENT, "auxblob: No such file or directory (ENOENT). Another process removed"),
        ("write inblob", errno.EFBIG, "inblob: File too large (EFBIG)"),
        ("write inblob", errno.EIO, "inblob: Input/output error (EIO)"),
    ],
)
def test_any_other_failure_is_named_and_not_the_end(
    machine: TsmMachine, operation: str, number: int, words: str
) -> None:
    machine.plan[operation] = iter([number])
    failed, after = machine.drive("report:1", "report:2")
    _expect([failed], words)
    assert "report" in after
    assert machine.folders == []


def test_a_folder_that_cannot_be_removed_is_an_error(machine: TsmMachine) -> None:
    machine.plan["rmdir"] = iter([0, errno.ENOMEM])
    _expect(machine.drive("report:1"), "a request's folder: Cannot allocate memory (ENOMEM)")


def test_a_folder_that_somebody_else_removed_is_none(machine: TsmMachine) -> None:
    machine.plan["rmdir"] = iter([0, errno.ENOENT])
    assert "report" in machine.drive("report:1")[0]


def test_a_short_write_is_no_kernels(machine: TsmMachine) -> None:
    machine.most_taken = 32
    _expect(machine.drive("report:1"), "inblob took 32 bytes, wanted 64: this is not the kernel's configfs")
    assert machine.reports == 0
    assert machine.folders == []


FORGERIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "too short": (lambda report: report[:-1], "a report of 1183 bytes, wanted 1184"),
    "with the driver's header": (lambda report: bytes(32) + report, "a report of 1216 bytes, wanted 1184"),
    "none": (lambda _: b"", "a report of 0 bytes, wanted 1184"),
    "over other data": (lambda report: report[:0x50] + bytes(64) + report[0x90:], "over other report data"),
    "of another level": (lambda report: report[:0x30] + b"\x01" + report[0x31:], "of VMPL 1, wanted VMPL 0"),
    "asked for by the host": (lambda report: report[:0x30] + b"\xff" * 4 + report[0x34:], "of VMPL 4294967295, wanted"),
    "without end": (lambda _: bytes(0x8001), "outblob holds more than 32768 bytes"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_an_answer_that_is_none_is_refused(machine: TsmMachine, forgery: str) -> None:
    machine.forge, words = FORGERIES[forgery]
    _expect(machine.drive("report:1"), words)
    assert machine.folders == []


def test_a_report_of_an_unknown_kind_cannot_be_read(machine: TsmMachine) -> None:
    machine.forge = lambda report: b"\x63" + report[1:]
    _expect(machine.drive("attest:1"), "the firmware's report cannot be read", "Update SafeRouter")


def test_a_host_without_certificates_is_told_what_is_missing(machine: TsmMachine) -> None:
    machine.table = b""
    report, attested = machine.drive("report:1", "attest:1")
    assert report["table"] == ""
    _expect([attested], "there is no VCEK and ASK and ARK", "it holds nothing")


def test_a_broken_table_is_the_hosts_fault(machine: TsmMachine) -> None:
    machine.table = machine.table[:30]
    _expect(machine.drive("attest:1"), "the host's certificate table is broken", "host's operator load it again")


@pytest.mark.parametrize("text", ["", "-1", "+0", "4", "1 ", "\u0661", "9" * 21])
def test_a_floor_that_is_no_level_is_refused(machine: TsmMachine, text: str) -> None:
    machine.floor = text  # type: ignore[assignment]
    wanted = "wanted a number" if text != "4" else "this guest may name VMPL 4 to 3"
    _expect(machine.drive("report:1"), wanted)
    assert machine.folders == []


def test_what_a_killed_process_left_is_removed_once_it_is_old(machine: TsmMachine) -> None:
    machine.intrusions["write inblob"] = iter([lambda _: os.kill(machine.peer, signal.SIGKILL)])
    assert machine.drive("report:1", killed=True) == []
    (left,) = machine.folders
    machine.make_folder("somebody-elses")
    assert "report" in machine.drive("report:1")[0]
    assert machine.folders == [left, "somebody-elses"], "its process may live"
    long_ago = time.time() - 3700
    for name in machine.folders:
        os.utime(machine.mirror / name, (long_ago, long_ago))
    assert "report" in machine.drive("report:1")[0]
    assert machine.folders == ["somebody-elses"]


def test_configfs_comes_first_and_says_why(machine: TsmMachine, shim: Path, tmp_path: Path) -> None:
    plain, with_mock = machine.drive("detect", "detect-mock", others=(build_shim(tmp_path),))
    reason = f"SEV-SNP attester, because {TREE} offers reports of VMPL 0"
    assert plain == {"tee_type": "sev_snp", "reason": reason}
    assert with_mock == {"tee_type": "sev_snp", "reason": reason + "; --insecure-mock was given and is not used"}
    assert machine.reports == 0


@pytest.mark.parametrize("number", [errno.ENXIO, errno.ENODEV])
def test_without_a_provider_the_device_is_next_and_then_the_mock(
    machine: TsmMachine, tmp_path: Path, number: int
) -> None:
    machine.plan["mkdir"] = itertools.repeat(number)
    words = f"{TREE}: a request's folder: {os.strerror(number)} ({errno.errorcode[number]}): the kernel has no provider"
    (device,) = machine.drive("detect", others=(build_shim(tmp_path),))
    assert device["reason"].startswith(f"SEV-SNP attester, because /dev/sev-guest exists; not by {words}")
    refused, mock = machine.drive("detect", "detect-mock")
    assert refused["text"].startswith(f"attester: {words}")
    assert "and /dev/sev-guest does not exist: this is no SEV-SNP guest" in refused["text"]
    assert mock["tee_type"] == "mock"


def test_without_the_tree_the_device_is_next(machine: TsmMachine, tmp_path: Path) -> None:
    machine.mirror.rmdir()
    device, refused = machine.drive("detect", others=(build_shim(tmp_path),)) + machine.drive("detect")
    assert f"exists; not by {TREE}: does not exist: Linux is older than 6.7" in device["reason"]
    assert f"{TREE}: does not exist: Linux is older than 6.7" in refused["text"]
    machine.mirror.mkdir()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize("operation", ["mkdir", "open privlevel"])
def test_what_only_root_may_use_is_never_replaced_by_the_mock(
    machine: TsmMachine, tmp_path: Path, operation: str, number: int
) -> None:
    machine.plan[operation] = itertools.repeat(number)
    (device,) = machine.drive("detect", others=(build_shim(tmp_path),))
    assert device["tee_type"] == "sev_snp"
    assert "because /dev/sev-guest exists; not by" in device["reason"]
    for answer in machine.drive("detect", "detect-mock"):
        assert answer["error"] == "NotOffered"
        for words in (f"({errno.errorcode[number]})", "run the gateway as root", "CAP_DAC_OVERRIDE", "/dev/sev-guest"):
            assert words in answer["text"]
    assert machine.folders == []


def test_a_guest_of_another_kind_is_named_and_gets_no_mock(machine: TsmMachine) -> None:
    machine.provider = "tdx_guest"
    answers = machine.drive("detect", "detect-mock")
    _expect(answers, "its provider is 'tdx_guest', wanted 'sev_guest'", "attests AMD SEV-SNP only")
    assert machine.folders == []


def test_a_mock_behind_the_real_interface_is_not_believed(machine: TsmMachine, tmp_path: Path) -> None:
    code, words = _refused(machine, tmp_path)
    assert code == 3
    assert "its own report does not verify: Rejected: hw.root failed" in words
    assert "Traceback" not in words
    assert machine.reports == 1


def test_a_lost_key_ends_the_start(machine: TsmMachine, tmp_path: Path) -> None:
    machine.key_is_gone = True
    code, words = _refused(machine, tmp_path)
    assert code == 3
    assert f"saferouter: {TREE}: outblob: " in words
    assert "until the guest is rebooted" in words
    assert "Traceback" not in words


def test_a_gateway_finds_it_by_itself_and_its_quotes_verify(machine: TsmMachine, tmp_path: Path) -> None:
    """With the chip labelled as the mock that it is: the label says which root the gateway's own check may accept."""
    environ = machine.environ() | {"PORT": str(free_port())}
    command = [sys.executable, "-m", "tests.worlds.configfs_tsm_driver", "serve"]
    policy = tmp_path / "policy.toml"
    policy.write_text(f'measurements = ["{mock_measurement(source_digest()).hex()}"]\n')
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as gateway:
        too_late = threading.Timer(60, gateway.kill)
        too_late.start()
        try:
            assert gateway.stdout is not None
            words = list(itertools.islice(gateway.stdout, 2))
            assert words[1] == f"SEV-SNP attester, because {TREE} offers reports of VMPL 0\n"
            url = words[0].split("attested as ")[1].split(";")[0]
            before = machine.reports
            done = run_cli("verify", url, "--policy", policy, "--accept-mock")
            assert done.returncode == 0, done.stdout + done.stderr
            assert machine.reports == before + 1, "the nonce had a report of its own"
            assert run_cli("verify", url, "--policy", policy).returncode == 1
            assert machine.folders == []
        finally:
            gateway.send_signal(signal.SIGINT)
            gateway.wait()
            too_late.cancel()


def _refused(machine: TsmMachine, folder: Path) -> tuple[int, str]:
    """A gateway that may use the mock and does not start: exit code, and what the operator reads."""
    environ = machine.environ() | {"PORT": str(free_port())}
    command = [str(COMMAND), "serve", "--insecure-mock", "--demo"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def _expect(answers: list[dict[str, Any]], *words: str, retryable: bool = False) -> None:
    for answer in answers:
        assert answer.get("error") == "Unavailable", answer
        assert answer["text"].startswith(f"{TREE}: ")
        assert answer["retryable"] is retryable
        for word in words:
            assert word in answer["text"]
