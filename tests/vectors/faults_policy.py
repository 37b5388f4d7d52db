"""Policies that load, and policies with one fault: each names the field that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.vectors.world import POLICY, Json, Vector, policy

Text = dict[str, Json] | str
PIN_SIZES = {
    "chip_ids": 64,
    "id_key_digests": 48,
    "author_key_digests": 48,
    "host_data": 32,
    "family_ids": 16,
    "image_ids": 16,
}


_MEASUREMENT = POLICY["measurements"][0]
ROWS: list[tuple[str, str, Text, str]] = [
    ("unknown-name", "A name that no policy knows.", policy(wanted=1), "policy.wanted"),
    ("misspelt-name", "vmlp for vmpl.", policy(vmlp=0), "policy.vmlp"),
    ("misspelt-table", "guest-policy for guest_policy.", policy(**{"guest-policy": {}}), "policy.guest-policy"),
    ("misspelt-in-guest-policy", "alow for allow.", policy(guest_policy={"alow": []}), "policy.guest_policy.alow"),
    (
        "misspelt-in-platform",
        "requires for require.",
        policy(platform={"requires": []}),
        "policy.platform.requires",
    ),
    ("misspelt-in-pins", "chip_id for chip_ids.", policy(pins={"chip_id": []}), "policy.pins.chip_id"),
    ("debug-name", "DEBUG has no word.", policy(guest_policy={"allow": ["debug"]}), "policy.guest_policy.allow"),
    ("measurements-missing", "No measurements.", {}, "policy.measurements"),
    ("measurements-empty", "No measurement in the list.", policy(measurements=[]), "policy.measurements"),
    ("measurements-text", "A text, not a list.", policy(measurements="ab" * 48), "policy.measurements"),
    ("measurements-null", "null for the list.", policy(measurements=None), "policy.measurements"),
    ("measurement-upper", "Upper-case hex.", policy(measurements=[_MEASUREMENT.upper()]), "policy.measurements"),
    ("measurement-short", "95 characters.", policy(measurements=[_MEASUREMENT[1:]]), "policy.measurements"),
    (
        "measurement-line-break",
        "A line break at the end.",
        policy(measurements=["ab" * 48 + "\n"]),
        "policy.measurements",
    ),
    ("measurement-number", "A number in the list.", policy(measurements=[7]), "policy.measurements"),
    ("measurement-wildcard", "A wildcard is no measurement.", policy(measurements=["*"]), "policy.measurements"),
    (
        "measurement-digits",
        "Digits of another script.",
        policy(measurements=["\uff11" * 96]),
        "policy.measurements",
    ),
    ("vmpl-4", "VMPL 4.", policy(vmpl=4), "policy.vmpl"),
    ("vmpl-negative", "VMPL -1.", policy(vmpl=-1), "policy.vmpl"),
    ("vmpl-float", "VMPL 1.0.", policy(vmpl=1.0), "policy.vmpl"),
    ("vmpl-true", "VMPL true.", policy(vmpl=True), "policy.vmpl"),
    ("vmpl-text", "VMPL as text.", policy(vmpl="0"), "policy.vmpl"),
    ("vmpl-null", "VMPL null.", policy(vmpl=None), "policy.vmpl"),
    ("abi-one-number", "An ABI of one number.", policy(minimum_abi="1"), "policy.minimum_abi"),
    ("abi-256", "An ABI minor of 256.", policy(minimum_abi="1.256"), "policy.minimum_abi"),
    ("abi-number", "An ABI as a number.", policy(minimum_abi=1.55), "policy.minimum_abi"),
    ("abi-line-break", "A line break after the ABI.", policy(minimum_abi="1.55\n"), "policy.minimum_abi"),
    ("abi-three-numbers", "An ABI of three numbers.", policy(minimum_abi="1.55.0"), "policy.minimum_abi"),
    ("abi-sign", "An ABI with a sign.", policy(minimum_abi="+1.5"), "policy.minimum_abi"),
    ("guest-svn-33-bits", "GUEST_SVN beyond 32 bits.", policy(minimum_guest_svn=2**32), "policy.minimum_guest_svn"),
    (
        "mitigations-negative",
        "Negative mitigations.",
        policy(required_mitigations=-1),
        "policy.required_mitigations",
    ),
    (
        "mitigations-54-bits",
        "Mitigations of 2^53.",
        policy(required_mitigations=2**53),
        "policy.required_mitigations",
    ),
    (
        "provisional-text",
        "A text for a switch.",
        policy(allow_provisional_firmware="yes"),
        "policy.allow_provisional_firmware",
    ),
    (
        "provisional-one",
        "1 for a switch.",
        policy(allow_provisional_firmware=1),
        "policy.allow_provisional_firmware",
    ),
    ("revocation-never", "Another word for revocation.", policy(revocation="never"), "policy.revocation"),
    ("revocation-false", "A switch for revocation.", policy(revocation=False), "policy.revocation"),
    (
        "guest-word",
        "An unknown restriction.",
        policy(guest_policy={"require": ["ecc"]}),
        "policy.guest_policy.require",
    ),
    (
        "guest-permission-required",
        "A permission cannot be required.",
        policy(guest_policy={"require": ["smt"]}),
        "policy.guest_policy.require",
    ),
    ("guest-list", "A list for a table.", policy(guest_policy=["smt"]), "policy.guest_policy"),
    ("guest-allow-text", "A text for a list.", policy(guest_policy={"allow": "smt"}), "policy.guest_policy.allow"),
    (
        "platform-word",
        "An unknown platform word.",
        policy(platform={"require": ["iommu"]}),
        "policy.platform.require",
    ),
    (
        "platform-upper",
        "A platform word in upper case.",
        policy(platform={"forbid": ["SMT"]}),
        "policy.platform.forbid",
    ),
    ("platform-number", "A number for a word.", policy(platform={"forbid": [0]}), "policy.platform.forbid"),
    (
        "platform-prototype",
        "A name that every JavaScript object has.",
        policy(platform={"forbid": ["constructor"]}),
        "policy.platform.forbid",
    ),
    ("tcb-status", "Another word for the status.", policy(tcb_status="revoked"), "policy.tcb_status"),
    ("tcb-status-switch", "A switch for the status.", policy(tcb_status=True), "policy.tcb_status"),
    ("tcb-accept-text", "A text for a list.", policy(tcb_accept="AMD-SB-3019"), "policy.tcb_accept"),
    ("tcb-accept-short", "No bulletin's id.", policy(tcb_accept=["SB-3019"]), "policy.tcb_accept"),
    ("tcb-accept-all", "A wildcard is no id.", policy(tcb_accept=["AMD-SB-*"]), "policy.tcb_accept"),
    ("releases-list", "A list for a table.", policy(releases=[]), "policy.releases"),
    ("releases-empty", "Releases by nobody.", policy(releases={}), "policy.releases.keys"),
    (
        "releases-no-keys",
        "An empty list of keys.",
        policy(releases={"keys": [], "threshold": 1}),
        "policy.releases.keys",
    ),
    (
        "releases-key-short",
        "A key of 31 bytes.",
        policy(releases={"keys": ["ab" * 31], "threshold": 1}),
        "policy.releases.keys",
    ),
    (
        "releases-key-twice",
        "A key twice.",
        policy(releases={"keys": ["ab" * 32] * 2, "threshold": 2}),
        "policy.releases.keys",
    ),
    (
        "releases-no-threshold",
        "Keys without a threshold.",
        policy(releases={"keys": ["ab" * 32]}),
        "policy.releases.threshold",
    ),
    (
        "releases-threshold-0",
        "A threshold of nobody.",
        policy(releases={"keys": ["ab" * 32], "threshold": 0}),
        "policy.releases.threshold",
    ),
    (
        "releases-threshold-2",
        "A threshold above the keys.",
        policy(releases={"keys": ["ab" * 32], "threshold": 2}),
        "policy.releases.threshold",
    ),
    ("csp-id-number", "A number for a cloud.", policy(pins={"csp_ids": [1]}), "policy.pins.csp_ids"),
    ("pins-null", "null for a table.", policy(pins=None), "policy.pins"),
]


def policy_vector(slug: str, about: str, document: Text, malformed: str | None) -> Vector:
    text = document if isinstance(document, str) else json.dumps(document)
    expect = {"loads": True} if malformed is None else {"malformed": malformed}
    return Vector("policy", slug, {"about": about, "stage": "policy", "document": text, "expect": expect})


def good() -> Iterator[Vector]:
    yield policy_vector("good", "One measurement, strict defaults.", POLICY, None)
    everything = policy(
        vmpl=3,
        minimum_abi="1.55",
        minimum_guest_svn=2**32 - 1,
        tcb_floor={"Milan": {"snp": 29}, "Genoa": {}, "Turin": {"fmc": 0, "microcode": 255}},
        launch_tcb_floor={"Milan": {"bootloader": 4}},
        guest_policy={"allow": ["smt", "cxl"], "require": ["single-socket", "page-swap-disable"]},
        platform={"require": ["ecc", "ecc"], "forbid": ["tio"]},
        required_mitigations=2**53 - 1,
        allow_provisional_firmware=True,
        pins={name: ["ab" * size] for name, size in PIN_SIZES.items()} | {"csp_ids": ["x"]},
        revocation="when-given",
        tcb_status="up-to-date",
        tcb_accept=["AMD-SB-3019", "AMD-SB-3019"],
        releases={"keys": ["ab" * 32, "cd" * 32], "threshold": 2},
    )
    yield policy_vector("everything", "Every name that a policy knows.", everything, None)
    yield policy_vector("space", "White space before the document.", " \n\t" + json.dumps(POLICY), None)
    yield policy_vector("minus-zero", "-0 is the integer 0.", json.dumps(policy(vmpl="X")).replace('"X"', "-0"), None)


def _floors() -> Iterator[tuple[str, str, Text, str]]:
    for table in ("tcb_floor", "launch_tcb_floor"):
        path, slug = f"policy.{table}", table.replace("_", "-")
        genoa = f"{path}.Genoa"
        yield (
            f"{slug}-unknown-product",
            "A product that is not known here.",
            policy(**{table: {"Naples": {}}}),
            f"{path}.Naples",
        )
        yield f"{slug}-case", "A product in lower case.", policy(**{table: {"genoa": {}}}), f"{path}.genoa"
        yield f"{slug}-fmc", "Genoa has no fmc.", policy(**{table: {"Genoa": {"fmc": 1}}}), f"{genoa}.fmc"
        yield f"{slug}-256", "A version of 256.", policy(**{table: {"Genoa": {"snp": 256}}}), f"{genoa}.snp"
        yield (
            f"{slug}-minus-1",
            "A version of -1 is no floor.",
            policy(**{table: {"Genoa": {"snp": -1}}}),
            f"{genoa}.snp",
        )
        yield f"{slug}-minus-2", "A version of -2.", policy(**{table: {"Genoa": {"snp": -2}}}), f"{genoa}.snp"
        yield f"{slug}-text", "A version as text.", policy(**{table: {"Genoa": {"snp": "27"}}}), f"{genoa}.snp"
        yield f"{slug}-number", "A number for a product's table.", policy(**{table: {"Genoa": 27}}), genoa
        yield f"{slug}-list", "A list for a table.", policy(**{table: []}), path


def faults() -> Iterator[Vector]:
    for slug, about, document, field in (*ROWS, *_floors()):
        yield policy_vector(slug, about, document, field)
    for name, size in PIN_SIZES.items():
        slug, field = name.replace("_", "-"), f"policy.pins.{name}"
        yield policy_vector(
            f"pin-{slug}-short", f"A pin of {size - 1} bytes.", policy(pins={name: ["ab" * (size - 1)]}), field
        )
        yield policy_vector(f"pin-{slug}-upper", "A pin in upper case.", policy(pins={name: ["AB" * size]}), field)
        yield policy_vector(f"pin-{slug}-text", "A text for a list.", policy(pins={name: "ab" * size}), field)
    text = json.dumps(POLICY)
    for slug, about, broken in (
        ("member-twice", "A name twice.", text[:-1] + ', "vmpl": 0, "vmpl": 1}'),
        ("not-closed", "No closing brace.", text[:-1]),
        ("list", "A list.", "[]"),
        ("nan", "NaN for a number.", text[:-1] + ', "vmpl": NaN}'),
    ):
        yield policy_vector(slug, about, broken, "policy")


def firmware() -> Iterator[Vector]:
    """Measurements of firmware, and the boot images that they demand."""
    image = {"pcr4": "44" * 48, "pcr7": "77" * 48, "pcr12": "cc" * 48}
    whole: dict[str, Json] = {"firmware_measurements": ["ab" * 48], "boot_images": [image]}
    yield policy_vector("firmware", "Firmware and a boot image, without another measurement.", whole, None)
    yield policy_vector("firmware-beside", "Beside measurements of a workload.", POLICY | whole, None)
    firmware, images = "policy.firmware_measurements", "policy.boot_images"
    short = {name: value for name, value in image.items() if name != "pcr12"}
    rows: list[tuple[str, str, Text, str]] = [
        ("firmware-alone", "Nothing could satisfy it.", {"firmware_measurements": ["ab" * 48]}, images),
        ("firmware-no-image", "An empty list of images.", whole | {"boot_images": []}, images),
        ("images-alone", "Nothing would demand them.", POLICY | {"boot_images": [image]}, firmware),
        ("images-only", "No measurement at all.", {"boot_images": [image]}, firmware),
        (
            "firmware-empty",
            "No measurement at all, in an empty list.",
            {"firmware_measurements": []},
            "policy.measurements",
        ),
        ("firmware-in-both", "One measurement in both lists.", whole | {"measurements": ["ab" * 48]}, firmware),
        ("firmware-upper", "Upper-case hex.", whole | {"firmware_measurements": ["AB" * 48]}, firmware),
        ("firmware-text", "A text for the list.", whole | {"firmware_measurements": "ab" * 48}, firmware),
        ("firmware-null", "null for the list.", whole | {"firmware_measurements": None}, firmware),
        ("images-object", "One image, not a list.", whole | {"boot_images": image}, images),
        ("image-text", "A text for an image.", whole | {"boot_images": ["44" * 48]}, images),
        ("image-no-pcr12", "An image without its command line.", whole | {"boot_images": [short]}, f"{images}.pcr12"),
        (
            "image-pcr5",
            "A register that no image names.",
            whole | {"boot_images": [image | {"pcr5": "55" * 48}]},
            f"{images}.pcr5",
        ),
        ("image-sha256", "A register of SHA-256.", whole | {"boot_images": [image | {"pcr4": "44" * 32}]}, images),
        ("image-upper", "A register in upper case.", whole | {"boot_images": [image | {"pcr7": "AB" * 48}]}, images),
        ("image-number", "A number for a register.", whole | {"boot_images": [image | {"pcr7": 7}]}, f"{images}.pcr7"),
    ]
    for slug, about, document, field in rows:
        yield policy_vector(slug, about, document, field)
