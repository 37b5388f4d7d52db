"""Expected launch measurements: every shared value, hardware-signed ones among them, and `saferouter measure`."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tee.cli import app
from tee.errors import Malformed, Unavailable
from tee.measure.inputs import (
    DirectBoot,
    LaunchInputs,
    Section,
    SectionKind,
    encode_inputs,
    measure_inputs,
    parse_inputs,
    vcpu_signature,
    vcpu_signatures,
)
from tee.measure.pages import Vcpus, Vmm, encode_vmsa
from tee.snp.report import parse_report
from tests.conftest import read_manifest
from tests.worlds.firmware import HASH_TABLE, METADATA, RESET_BLOCK, SVSM_INFO, firmware_image

RUNNER = CliRunner()
KNOWN = "507e82d27ea5b951dd765a3eb31ba5f582673b301d6983ded482d3feb066cb68979f1f11fede97687374d3a25002a15f"


@pytest.fixture(scope="module")
def launch(vectors: Path) -> dict[str, Any]:
    section: dict[str, Any] = read_manifest(vectors)["launch"]
    return section


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return _file(tmp_path / "OVMF.fd", firmware_image())


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return _file(tmp_path / "empty", b"")


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _run(*options: object) -> dict[str, Any]:
    result = RUNNER.invoke(app, ["measure", *map(str, options), "--json"])
    assert result.exit_code == 0, (options, result.output, result.exception)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def _refusal(kind: type[Malformed] | type[Unavailable], *options: object) -> str:
    result = RUNNER.invoke(app, ["measure", *map(str, options)])
    assert isinstance(result.exception, kind), (options, result.output, result.exception)
    return str(result.exception)


def _options(folder: Path, case: dict[str, Any], empty: Path) -> list[object]:
    options: list[object] = ["launch", "--ovmf", folder / case["ovmf"], "--vcpus", case["vcpus"]]
    options += ["--vmm", case["vmm_type"], "--guest-features", case["guest_features"]]
    options += ["--vcpu-type", case["vcpu_sig"]] if case.get("vcpu_sig") else []
    options += ["--kernel", empty] if case["kernel"] == "empty" else []
    options += ["--initrd", empty] if case.get("initrd") == "empty" else []
    return options + (["--append", case["append"]] if case["append"] else [])


def _signed_measurements(folder: Path) -> dict[str, str]:
    """The measurements in captured reports, by id; tests/test_report_vectors.py checks the signatures over them."""
    records = read_manifest(folder)["reports"]
    return {
        record["id"]: parse_report((folder / record["files"]["report"]).read_bytes()).measurement.hex()
        for record in records
        if "milan" in record["id"]
    }


def test_every_part_of_the_manifest_is_read(launch: dict[str, Any]) -> None:
    about = {"tool", "fixtures_source", "licence", "note"}
    read = {"fixtures", "digests", "legacy_ec2", "observed_ec2", "ec2_vcpu_ladder", "real", "ovmf_hash", "must_fail"}
    read |= {"vcpu_sigs", "vcpu_sig_from_fms"}
    not_ours = {"id_block"}  # needs private keys that are not among the vectors
    assert set(launch) == about | read | not_ours


def test_fixtures_are_the_manifests(launch: dict[str, Any], vectors: Path) -> None:
    for fixture in launch["fixtures"].values():
        raw = (vectors / fixture["file"]).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (fixture["length"], fixture["sha256"])


def test_every_upstream_digest_from_files_and_again_from_hashes(
    launch: dict[str, Any], vectors: Path, empty: Path, tmp_path: Path
) -> None:
    assert len(launch["digests"]) >= 17
    for case in launch["digests"]:
        printed = _run(*_options(vectors, case, empty))
        assert printed["measurement"] == case["expected"], case["id"]
        assert printed["covers"] == ("workload" if case["kernel"] else "firmware"), case["id"]
        document = _file(tmp_path / "inputs.json", json.dumps(printed["inputs"]).encode())
        assert _run("inputs", document) == printed, case["id"]


def test_ec2_of_early_2025_had_rdx_zero(launch: dict[str, Any], vectors: Path, empty: Path) -> None:
    for case in launch["legacy_ec2"]:
        options = _options(vectors, case | {"vmm_type": "ec2"}, empty)
        assert _run(*options, "--rdx", "0")["measurement"] == case["expected"]
        assert _run(*options)["measurement"] != case["expected"]


def test_ovmf_hash(launch: dict[str, Any], vectors: Path) -> None:
    case = launch["ovmf_hash"]
    options = ["launch", "--ovmf", vectors / case["ovmf"], "--vcpus", 1, "--vmm", "ec2"]
    printed = _run(*options)
    assert printed["inputs"]["ovmf_hash"] == case["expected"]
    assert _run(*options, "--ovmf-hash", case["expected"]) == printed
    assert _run(*options, "--ovmf-hash", "00" * 48)["measurement"] != printed["measurement"]


def test_must_fail(launch: dict[str, Any], vectors: Path, empty: Path) -> None:
    for case in launch["must_fail"]:
        case = case | {"vcpu_sig": "0x800f12"}
        assert "SNP_KERNEL_HASHES section" in case["error"]
        message = _refusal(Malformed, *_options(vectors, case, empty))
        assert "found none, wanted an SNP_KERNEL_HASHES section" in message


def test_vcpu_signatures(launch: dict[str, Any]) -> None:
    assert {name: hex(signature) for name, signature in vcpu_signatures().items()} == launch["vcpu_sigs"]
    for case in launch["vcpu_sig_from_fms"]:
        assert hex(vcpu_signature(case["family"], case["model"], case["stepping"])) == case["expected"]


def test_the_measurement_of_a_real_milan_host_from_hashes_alone(
    launch: dict[str, Any], vectors: Path, tmp_path: Path
) -> None:
    """The chip signed this digest; it covers firmware, kernel, initrd, and the root hash on the command line."""
    signed = _signed_measurements(vectors)
    for case in launch["real"]:
        given = json.loads((vectors / case["file"]).read_text())["inputs"]
        sections = given["ovmf_sections"]
        kernel, initrd = (bytes.fromhex(given[name]) for name in ("kernel_hash", "initrd_hash"))
        signature = vcpu_signatures()[given["vcpu_type"]]
        inputs = LaunchInputs(
            bytes.fromhex(given["ovmf_hash"]),
            tuple(Section(SectionKind(item["section_type"]), item["gpa"], item["size"]) for item in sections),
            DirectBoot(given["sev_hashes_table_gpa"], kernel, initrd, given["base_cmdline"]),
            Vcpus(given["vcpus"], Vmm.QEMU, signature, given["guest_features"], given["sev_es_reset_eip"]),
        )
        printed = _run("inputs", _file(tmp_path / "inputs.json", json.dumps(encode_inputs(inputs)).encode()))
        assert printed["measurement"] == case["expected"] == signed[case["report"]]
        assert printed["covers"] == "workload"


def test_the_ec2_ladder_meets_every_observed_and_predicted_value(launch: dict[str, Any], vectors: Path) -> None:
    climbed, captured = set(), _signed_measurements(vectors)
    compared = []
    for era in launch["ec2_vcpu_ladder"]:
        known, signed = era["observed"]["2"], era["observed"]["4"]
        rdx = ["--rdx", era["ap_vmsa"]["rdx"]] if era["ap_vmsa"]["rdx"] != "0x600" else []
        printed = _run("ladder", "--known", known["measurement"], "--vcpus", 2, "--to", 64, *rdx)
        assert printed["measurements"].pop("4") == signed["measurement"]
        assert printed["measurements"] == era["predicted"]
        for seen in (known, signed):
            if seen["report"] in captured:
                assert captured[seen["report"]] == seen["measurement"]
                compared.append(seen["report"])
        climbed |= {known["measurement"], signed["measurement"]}
        numbers = [int(era["ap_vmsa"][name], 16) for name in ("rdx", "sev_features", "eip")]
        page = encode_vmsa(Vcpus(2, Vmm.EC2, *numbers), numbers[2])
        assert hashlib.sha384(page).hexdigest() == era["ap_vmsa"]["page_sha384"]
    # The other three reports are not among the vectors: the manifest alone says that a chip signed their values.
    assert compared == ["milan-v3-vlek-aws-us-east-2-vmpl1-trustee"]
    observed = {case["measurement"]: case["when"] for case in launch["observed_ec2"]}
    # One value of 2023 is of a firmware that no 2-vCPU report is known of: there is nothing to climb from.
    assert {when for measurement, when in observed.items() if measurement not in climbed} == {"2023-08"}


def test_the_ladder_starts_anywhere_and_ends_where_told() -> None:
    two = _run("ladder", "--known", KNOWN.upper(), "--vcpus", 2, "--to", 5)["measurements"]
    assert list(two) == ["4", "5"]
    assert _run("ladder", "--known", two["4"], "--vcpus", 4, "--to", 5)["measurements"] == {"5": two["5"]}
    assert _run("ladder", "--known", KNOWN, "--vcpus", 2, "--to", 4, "--reset-eip", "0x80b008")["measurements"] != two


@pytest.mark.parametrize("vmm", list(Vmm))
def test_the_library_and_our_own_calculation_agree(vmm: Vmm, image: Path, tmp_path: Path) -> None:
    """`launch` itself refuses a difference; here for each hypervisor with a kernel, three vCPUs and odd features."""
    kernel, initrd = _file(tmp_path / "k", b"kernel"), _file(tmp_path / "i", b"initrd")
    options = ["launch", "--ovmf", image, "--vcpus", 3, "--vcpu-type", "25.17.0", "--vmm", vmm.value]
    options += ["--kernel", kernel, "--initrd", initrd, "--append", "roothash=1 ü", "--guest-features", "0x21"]
    printed = _run(*options)
    boot = printed["inputs"]["boot"]
    assert boot["kernel_sha256"] == hashlib.sha256(b"kernel").hexdigest()
    assert (boot["cmdline"], boot["hash_table_gpa"]) == ("roothash=1 ü", 0x805400)
    initrd.write_bytes(b"another")
    assert _run(*options)["measurement"] != printed["measurement"]


def test_a_library_that_calculates_otherwise_is_refused(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sevsnpmeasure import vmsa

    build = vmsa.VMSA.build_save_area

    def build_as_before_0_0_13(*arguments: Any) -> Any:
        area = build(*arguments)
        area.rdx = 0
        return area

    monkeypatch.setattr(vmsa.VMSA, "build_save_area", staticmethod(build_as_before_0_0_13))
    message = _refusal(Malformed, "launch", "--ovmf", image, "--vcpus", 1, "--vmm", "ec2")
    assert message.startswith("measurement: found ")
    assert "by sev-snp-measure" in message


def test_without_the_library_only_launch_is_unavailable(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = _run("launch", "--ovmf", image, "--vcpus", 1, "--vmm", "gce")["inputs"]
    for name in ("guest", "ovmf"):
        monkeypatch.setitem(sys.modules, f"sevsnpmeasure.{name}", None)
    message = _refusal(Unavailable, "launch", "--ovmf", image, "--vcpus", 1, "--vmm", "gce")
    assert message == "sev-snp-measure: not installed; pip install 'saferouter[measure]'"
    assert _run("ladder", "--known", KNOWN, "--vcpus", 2)["measurements"]
    image.write_text(json.dumps(inputs))
    assert _run("inputs", image)["inputs"] == inputs


def test_svsm(image: Path, tmp_path: Path) -> None:
    """Firmware, SVSM, its sections and its register state, in this order; assembled here from the library's parts."""
    from sevsnpmeasure.gctx import GCTX
    from sevsnpmeasure.vmsa import VMSA_SVSM

    svsm = _file(tmp_path / "svsm.bin", firmware_image(((0x900000, 0x1000, 4), (0x901000, 0x1000, 2))))
    options = ["launch", "--ovmf", image, "--vcpus", 2, "--vcpu-type", "EPYC-Milan", "--svsm", svsm, "--vars-size"]
    context, top = GCTX(), 1 << 32
    context.update_normal_pages(top - 4096, image.read_bytes())
    context.update_normal_pages(top - 3 * 4096, svsm.read_bytes())
    context.update_zero_pages(0x900000, 4096)
    context.update_secrets_page(0x901000)
    for page in VMSA_SVSM(top - 3 * 4096 + 0x40, 0xA00F11).pages(2):
        context.update_vmsa_page(page)
    expected = {"measurement": context.hex_ld(), "covers": "firmware", "inputs": None}
    assert _run(*options, 4096) == expected
    assert _run(*options, 8192) != expected
    assert _refusal(Malformed, *options, 100).startswith("--vars-size: found 100, wanted a multiple of 4096")
    assert _refusal(Malformed, *options, 0, "--vmm", "ec2").startswith("--svsm: found another hypervisor")
    assert _refusal(Malformed, *options, 0, "--append", "x").startswith("--svsm: found a kernel")
    assert _refusal(Malformed, *options[:-1]) == "--svsm: found only one of --svsm and --vars-size, wanted both"
    svsm.write_bytes(firmware_image(leave_out=SVSM_INFO))
    assert "SVSM_INFO_GUID" in _refusal(Malformed, *options, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vmm", "qemu"], "--vcpu-type: found nothing, wanted QEMU's CPU model"),
        (["--vcpu-type", "Opteron"], '--vcpu-type: found "Opteron", wanted EPYC, EPYC-v1'),
        (["--vcpu-type", "23.1.16"], '--vcpu-type: found "23.1.16", wanted EPYC'),
        (["--vcpu-type", "0x1ffffffff"], "rdx: found 0x1ffffffff, wanted 0x0 to 0xffffffff"),
        (["--vmm", "ec2", "--guest-features", "0x20"], "guest_features: found 0x20, wanted bit 0 (SNPActive)"),
        (["--vmm", "ec2", "--guest-features", "one"], '--guest-features: found "one", wanted a number'),
        (["--vmm", "ec2", "--rdx", "-1"], '--rdx: found "-1", wanted a number'),
        (["--vmm", "ec2", "--rdx", "0" * 40], "--rdx: found "),
        (["--vmm", "ec2", "--vcpus", "0"], "vcpus: found 0, wanted 1 to 1024"),
        (["--vmm", "ec2", "--vcpus", "9999999"], "vcpus: found 9999999, wanted 1 to 1024"),
        (["--vmm", "ec2", "--append", "quiet"], "--kernel: found nothing, wanted the kernel"),
        (["--vmm", "ec2", "--initrd", "/nowhere"], "--kernel: found nothing, wanted the kernel"),
        (["--vmm", "ec2", "--kernel", "/nowhere"], "/nowhere: found No such file or directory, wanted a readable file"),
        (["--vmm", "ec2", "--kernel", "/"], "/: found Is a directory, wanted a readable file"),
        (["--vmm", "ec2", "--kernel", "/dev/null"], "/dev/null: found no regular file, wanted a file"),
        (["--vmm", "ec2", "--ovmf", "/nowhere"], "/nowhere: found No such file or directory"),
        (["--vmm", "ec2", "--ovmf-hash", "507e82d2"], '--ovmf-hash: found "507e82d2" of 8 characters, wanted 96'),
    ],
)
def test_launch_refuses(options: list[str], message: str, image: Path) -> None:
    assert _refusal(Malformed, "launch", "--ovmf", image, "--vcpus", 1, *options).startswith(message)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "found 0 bytes, wanted a firmware image"),
        (b"OVMF", "found 4 bytes, wanted a firmware image"),
        (bytes(4096), "firmware: found no SEV metadata"),
        (firmware_image(leave_out=METADATA), "firmware: found no SEV metadata"),
        (firmware_image(leave_out=RESET_BLOCK), "SEV_ES_RESET_BLOCK_GUID"),
        (firmware_image(leave_out=HASH_TABLE), "SEV_HASH_TABLE_RV_GUID"),
        (firmware_image(hash_table=0), "hash_table_gpa: found 0x0"),
        (firmware_image(hash_table=0x805FFF), "wanted 176 bytes within one page"),
        (firmware_image(((0x800000, 0xFFFFF000, 1),)), "section.size: found 0xfffff000, wanted 0x0 to 0x1000000"),
        (firmware_image(((0x800000, 0x1234, 1),)), "section: found 4660 bytes at 0x800000, wanted whole pages"),
        (firmware_image(((0x800000, 0x1000, 99),)), "99 is not a valid SectionType"),
        (firmware_image(((0x800000, 0x1000, 1),) * 65), "firmware: found 65 metadata sections, wanted at most 64"),
        (firmware_image().replace(b"ASEV", b"VESA"), "Wrong SEV metadata signature"),
        (firmware_image(((0x805000, 0x1000, 0x10),) * 2), "2 SNP_KERNEL_HASHES sections"),
    ],
)
def test_launch_refuses_firmware(raw: bytes, message: str, image: Path, empty: Path) -> None:
    image.write_bytes(raw)
    assert message in _refusal(Malformed, "launch", "--ovmf", image, "--vcpus", 1, "--vmm", "ec2", "--kernel", empty)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4095), st.binary(min_size=1, max_size=8))
def test_broken_firmware_is_measured_or_refused(tmp_path_factory: Any, offset: int, junk: bytes) -> None:
    raw = bytearray(firmware_image())
    raw[offset : offset + len(junk)] = junk
    image = _file(tmp_path_factory.getbasetemp() / "broken.fd", bytes(raw[:4096]))
    options = ["measure", "launch", "--ovmf", str(image), "--vcpus", "2", "--vmm", "ec2", "--kernel", str(image)]
    result = RUNNER.invoke(app, options)
    assert result.exit_code == 0 or isinstance(result.exception, Malformed), (result.exception, result.output)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--known", "507e82d2…", "--vcpus", "2"], '--known: found "507e82d2'),
        (["--known", KNOWN, "--vcpus", "0"], "vcpus: found 0, wanted 1 to 1024"),
        (["--known", KNOWN, "--vcpus", "64"], "to: found 64, wanted more than the 64 vCPUs"),
        (["--known", KNOWN, "--vcpus", "2", "--to", "4096"], "vcpus: found 4096, wanted 1 to 1024"),
        (["--known", KNOWN, "--vcpus", "2", "--reset-eip", "0"], "reset_eip: found none, wanted the reset address"),
        (["--known", KNOWN, "--vcpus", "2", "--rdx", "x"], '--rdx: found "x", wanted a number'),
    ],
)
def test_ladder_refuses(options: list[str], message: str) -> None:
    assert _refusal(Malformed, "ladder", *options).startswith(message)


def _document() -> dict[str, Any]:
    boot = DirectBoot(0x805400, b"k" * 32, b"i" * 32, "roothash=1")
    sections = (Section(SectionKind.CPUID, 0x804000, 4096), Section(SectionKind.KERNEL_HASHES, 0x805000, 4096))
    inputs = LaunchInputs(b"o" * 48, sections, boot, Vcpus(2, Vmm.QEMU, 0x800F12, 1, 0x80B004))
    document: dict[str, Any] = encode_inputs(inputs)
    return document


def test_a_launch_document_reads_back_and_each_part_of_it_counts() -> None:
    document = _document()
    inputs = parse_inputs(json.dumps(document).encode())
    assert encode_inputs(inputs) == document
    changes: list[tuple[tuple[str, ...], object]] = [
        (("boot", "cmdline"), "roothash=2"),
        (("boot", "kernel_sha256"), "00" * 32),
        (("boot",), None),
    ]
    changes += [(("boot", "initrd_sha256"), "00" * 32), (("boot", "hash_table_gpa"), 0x805410), (("vcpus", "rdx"), 1)]
    changes += [(("vcpus", "count"), 3), (("vcpus", "vmm"), "ec2"), (("vcpus", "guest_features"), 0x21)]
    changes += [(("vcpus", "reset_eip"), 5), (("ovmf_hash",), "00" * 48), (("sections",), document["sections"][::-1])]
    digests = {measure_inputs(inputs)}
    for path, value in changes:
        digests.add(measure_inputs(parse_inputs(json.dumps(_changed(path, value)).encode())))
    assert len(digests) == len(changes) + 1


def _changed(path: tuple[Any, ...], value: object) -> dict[str, Any]:
    document = copy.deepcopy(_document())
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "saferouter/launch/v2", 'launch.format: found "saferouter/launch/v2"'),
        (("extra",), 1, 'launch: found "extra" unknown'),
        (("ovmf_hash",), "00" * 47, "launch.ovmf_hash: found"),
        (("sections", 0, "kind"), "vmsa", 'launch.sections.kind: found "vmsa", wanted sec_mem, secrets'),
        (("sections", 1), 7, "launch.sections: found an integer, wanted an object"),
        (("sections",), [], "firmware: found none, wanted an SNP_KERNEL_HASHES section"),
        (("boot",), {}, "launch.boot: found an empty object"),
        (("boot", "cmdline"), "a\0b", "cmdline: found a NUL"),
        (("boot", "cmdline"), "x" * 70000, "cmdline: found 70000 characters"),
        (("boot", "kernel_sha256"), "AA" * 32, "launch.boot.kernel_sha256: found"),
        (("vcpus", "count"), True, "launch.vcpus.count: found a boolean, wanted an integer"),
        (("vcpus", "vmm"), "xen", 'launch.vcpus.vmm: found "xen", wanted qemu, ec2, gce'),
        (("vcpus",), None, "launch.vcpus: found null, wanted an object"),
    ],
)
def test_a_launch_document_is_refused(path: tuple[Any, ...], value: object, message: str, tmp_path: Path) -> None:
    document = _file(tmp_path / "inputs.json", json.dumps(_changed(path, value)).encode())
    assert _refusal(Malformed, "inputs", document).startswith(message)


PATHS: list[tuple[str | int, ...]] = [(name,) for name in _document()] + [
    ("sections", 0, name) for name in ("kind", "gpa", "size")
]
PATHS += [(part, name) for part in ("boot", "vcpus") for name in _document()[part]]
JUNK: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from([[], {}])
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PATHS), JUNK)
def test_any_launch_document_is_read_or_malformed(path: tuple[Any, ...], value: object) -> None:
    raw = json.dumps(_changed(path, value)).encode()
    try:
        inputs = parse_inputs(raw)
    except Malformed:
        return
    assert encode_inputs(inputs) == json.loads(raw)


def test_the_command_prints_one_sentence_and_no_traceback() -> None:
    command = [str(Path(sys.executable).parent / "saferouter"), "measure"]
    good = subprocess.run([*command, "ladder", "--known", KNOWN, "--vcpus", "2"], capture_output=True, text=True)
    assert (good.returncode, len(good.stdout.splitlines())) == (0, 6)
    assert good.stderr.startswith("Covers firmware and vCPUs only")
    bad = subprocess.run([*command, "launch", "--ovmf", "/nowhere", "--vcpus", "1"], capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "saferouter: /nowhere: found No such file or directory, wanted a readable file\n"
