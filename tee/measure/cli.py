"""`saferouter measure`: what a guest's launch measurement must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tee.canonical import Json, shown
from tee.errors import Malformed
from tee.measure.firmware_cli import firmware_app
from tee.measure.inputs import (
    LaunchInputs,
    encode_inputs,
    measure_inputs,
    parse_hex,
    parse_inputs,
    vcpu_signature,
    vcpu_signatures,
)
from tee.measure.launch import LaunchFiles, Machine, measure_launch, measure_svsm, require_file
from tee.measure.manifest_cli import manifest_app
from tee.measure.pages import DIGEST_SIZE, EC2_AP_EIP, RDX_AT_RESET, Vcpus, Vmm, climb

MAX_INPUTS_SIZE = 1 << 20  # a launch document is about 2 KB
EC2_SIZES = (2, 4, 8, 16, 32, 48, 64)  # large to 16xlarge of m6a, c6a and r6a
FIRMWARE_ONLY = "Covers firmware and vCPUs only, not what the guest runs: accept it only beside other evidence."

measure_app = typer.Typer(no_args_is_help=True, help="Expected launch measurements, and the signed manifests of them.")
measure_app.add_typer(manifest_app)
measure_app.add_typer(firmware_app)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FeaturesOption = Annotated[str, typer.Option(help="SEV features; 0x21 if the host swaps debug registers.")]
RdxOption = Annotated[str | None, typer.Option(help="RDX at reset: 0x600 on EC2 and GCE, 0 on EC2 in early 2025.")]


@measure_app.command("launch")
def measure_files(
    ovmf: Annotated[Path, typer.Option(help="The firmware image.")],
    vcpus: Annotated[int, typer.Option(help="Number of vCPUs.")],
    vmm: Annotated[Vmm, typer.Option(help="The hypervisor.")] = Vmm.QEMU,
    vcpu_type: Annotated[
        str | None, typer.Option(help="QEMU's CPU model (EPYC-v4), its signature (0x800f12) or family.model.stepping.")
    ] = None,
    kernel: Annotated[Path | None, typer.Option(help="The kernel, for direct boot with kernel-hashes=on.")] = None,
    initrd: Annotated[Path | None, typer.Option(help="The initrd.")] = None,
    append: Annotated[str, typer.Option(help="The kernel command line, with the root hash.")] = "",
    guest_features: FeaturesOption = "0x1",
    rdx: RdxOption = None,
    ovmf_hash: Annotated[str | None, typer.Option(help="Digest of the firmware, if --ovmf is only its tail.")] = None,
    svsm: Annotated[Path | None, typer.Option(help="COCONUT-SVSM's image.")] = None,
    vars_size: Annotated[int | None, typer.Option(help="With --svsm: bytes of the variable store.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the files that a guest boots."""
    signature = None if vcpu_type is None else _parse_vcpu_type(vcpu_type)
    override = None if rdx is None else _parse_number(rdx, "--rdx")
    machine = Machine(vmm, vcpus, signature, _parse_number(guest_features, "--guest-features"), override)
    if svsm is None and vars_size is None:
        given = None if ovmf_hash is None else parse_hex(ovmf_hash, "--ovmf-hash", DIGEST_SIZE)
        inputs, measurement = measure_launch(LaunchFiles(ovmf, kernel, initrd, append, given), machine)
        _print_measurement(measurement, inputs, as_json)
        return
    if svsm is None or vars_size is None:
        raise Malformed("--svsm", "only one of --svsm and --vars-size", "both")
    if kernel or initrd or append or ovmf_hash:
        raise Malformed("--svsm", "a kernel, initrd, command line or firmware digest", "none of them with --svsm")
    _print_measurement(measure_svsm(ovmf, svsm, vars_size, machine), None, as_json)


@measure_app.command("inputs")
def measure_document(
    document: Annotated[Path, typer.Argument(help="The member `inputs` of what `launch --json` printed.")],
    as_json: JsonOption = False,
) -> None:
    """Measure a published launch again from its hashes alone."""
    require_file(document, MAX_INPUTS_SIZE)
    inputs = parse_inputs(document.read_bytes())
    _print_measurement(measure_inputs(inputs), inputs, as_json)


@measure_app.command("ladder")
def measure_ladder(
    known: Annotated[str, typer.Option(help="A known measurement, 96 hex characters.")],
    vcpus: Annotated[int, typer.Option(help="The vCPUs that it was measured with.")],
    to: Annotated[int, typer.Option(help="The most vCPUs wanted.")] = EC2_SIZES[-1],
    rdx: RdxOption = None,
    guest_features: FeaturesOption = "0x1",
    reset_eip: Annotated[str, typer.Option(help="Reset address of further vCPUs, as the firmware names it.")] = hex(
        EC2_AP_EIP
    ),
    as_json: JsonOption = False,
) -> None:
    """From one EC2 measurement, those of the larger sizes. They are predictions until seen."""
    state = RDX_AT_RESET if rdx is None else _parse_number(rdx, "--rdx")
    features, eip = _parse_number(guest_features, "--guest-features"), _parse_number(reset_eip, "--reset-eip")
    digests = climb(parse_hex(known.lower(), "--known", DIGEST_SIZE), vcpus, Vcpus(to, Vmm.EC2, state, features, eip))
    rungs = {count: digest.hex() for count, digest in digests.items() if count in EC2_SIZES or count == to}
    if as_json:
        measurements = {str(count): digest for count, digest in rungs.items()}
        start = {"measurement": known.lower(), "vcpus": vcpus}
        typer.echo(json.dumps({"known": start, "measurements": measurements, "covers": "firmware"}, indent=1))
        return
    for count, digest in rungs.items():
        typer.echo(f"{count:4} {digest}")
    typer.echo(FIRMWARE_ONLY, err=True)


def _print_measurement(measurement: bytes, inputs: LaunchInputs | None, as_json: bool) -> None:
    covers = "firmware" if inputs is None else inputs.covers
    if as_json:
        document: Json = {"measurement": measurement.hex(), "covers": covers}
        document["inputs"] = None if inputs is None else encode_inputs(inputs)
        typer.echo(json.dumps(document, indent=1))
        return
    typer.echo(measurement.hex())
    if covers == "firmware":
        typer.echo(FIRMWARE_ONLY, err=True)


def _parse_vcpu_type(text: str) -> int:
    known = vcpu_signatures()
    if text in known:
        return known[text]
    if text.lower().startswith("0x"):
        return _parse_number(text, "--vcpu-type")
    parts = text.split(".")
    limits = (0xF + 0xFF, 0xFF, 0xF)  # what CPUID can say
    if len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        family, model, stepping = map(int, parts)
        if all(number <= limit for number, limit in zip((family, model, stepping), limits, strict=True)):
            return vcpu_signature(family, model, stepping)
    wanted = f"{', '.join(known)}, a signature (0x800f12) or family.model.stepping (23.1.2)"
    raise Malformed("--vcpu-type", shown(text), wanted)


def _parse_number(text: str, field: str) -> int:
    try:
        number = int(text, 0) if len(text) <= 32 else -1
    except ValueError:
        number = -1
    if not 0 <= number < 2**53:
        raise Malformed(field, shown(text), "a number, decimal or 0x…, below 2^53")
    return number
