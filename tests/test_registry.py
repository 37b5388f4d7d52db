"""The registry: signed, in order and in time, or refused; what it bans, and how its risks add up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from gateway.config import decode_config
from gateway.registry.bom import Package, appliance_bom, parse_bom
from gateway.registry.document import PAYLOAD_TYPE, Registry, parse_registry
from gateway.registry.judge import SKEW_SECONDS, interdicted, open_registry, origin_of
from gateway.registry.risk import band_of, risk_of, summarise_risk
from tee.canonical import encode_canonical
from tee.errors import Malformed
from tee.measure.envelope import Signers, seal_envelope
from tests.worlds.gateway import run_cli

NOW = 1_795_240_000
KEYS = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
SIGNERS = Signers(tuple(bytes(key.verify_key) for key in KEYS[:2]), 2)
HASH, GONE, WITHDRAWN = ("sha256:" + digit * 64 for digit in "567")


def supplier(name: str, **members: Any) -> dict[str, Any]:
    plain = {"name": name.title(), "country": "DE", "tier": 1, "risk": 0, "revoked": False, "sanctioned": False}
    return {"id": name, **plain, **members}


def artefact(name: str, **members: Any) -> dict[str, Any]:
    plain = {"category": "model", "supplier": "good", "licence": "MIT", "content_hash": HASH, "bom": HASH, "builds": []}
    return {"id": name, **plain, "mirrors": ["eu-1", "eu-2"], **members}


def document(**members: Any) -> dict[str, Any]:
    return {
        "format": "saferouter/registry/v1",
        "sequence": 7,
        "issued": NOW - 10,
        "expires": NOW + 1000,
        "suppliers": [
            supplier("good"),
            supplier("shady", country="FR", tier=3, risk=40),
            supplier("gone", revoked=True),
            supplier("barred", sanctioned=True, country="XX"),
        ],
        "artefacts": [
            artefact("sound"),
            artefact("doubtful", supplier="shady", bom=None, mirrors=[], licence=None),
            artefact("of-gone", supplier="gone", content_hash=GONE),
            artefact("of-barred", supplier="barred", content_hash=None),
            artefact("withdrawn", content_hash=WITHDRAWN),
            artefact("firmware-1", category="firmware"),
        ],
        "revocations": [{"category": "model", "id": "withdrawn", "reason": "it leaks"}],
        **members,
    }


def parsed(**members: Any) -> Registry:
    return parse_registry(encode_canonical(document(**members)), "registry")


def signed(keys: list[SigningKey] = KEYS[:2], **members: Any) -> bytes:
    return seal_envelope(encode_canonical(document(**members)), PAYLOAD_TYPE, keys)


def opened(raw: bytes, now: int = NOW, seen: tuple[int, str] | None = None) -> Registry:
    return open_registry(raw, SIGNERS, now=now, seen=seen, field="registry")


def test_what_enough_known_keys_signed_is_believed_in_its_time_and_order() -> None:
    registry = opened(signed())
    assert opened(signed(), seen=(7, registry.digest)) == registry
    assert opened(signed(), seen=(6, HASH)) == registry


@pytest.mark.parametrize(
    ("raw", "now", "seen", "field"),
    [
        (signed(KEYS[:1]), NOW, None, "registry.signatures"),
        (signed([KEYS[0], KEYS[2]]), NOW, None, "registry.signatures"),
        (signed().replace(b'"sig": "', b'"sig": "AAAA'), NOW, None, "registry.signatures"),
        (signed(), NOW + 1000, None, "registry.expires"),
        (signed(issued=NOW + SKEW_SECONDS + 1), NOW, None, "registry.issued"),
        (signed(), NOW, (8, HASH), "registry.sequence"),
        (signed(), NOW, (7, HASH), "registry.sequence"),
        (json.dumps(document()).encode(), NOW, None, "registry"),
    ],
)
def test_anything_else_is_refused(raw: bytes, now: int, seen: tuple[int, str] | None, field: str) -> None:
    with pytest.raises(Malformed) as refused:
        opened(raw, now, seen)
    assert refused.value.field.startswith(field)


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("format", {"format": "saferouter/registry/v2"}),
    ("sequence", {"sequence": 0}),
    ("sequence", {"sequence": True}),
    ("expires", {"expires": NOW - 11}),
    ("suppliers", {"suppliers": [supplier("good")] * 2, "artefacts": []}),
    ("suppliers[0].country", {"suppliers": [supplier("good", country="de")]}),
    ("suppliers[0].tier", {"suppliers": [supplier("good", tier=5)]}),
    ("suppliers[0].risk", {"suppliers": [supplier("good", risk=101)]}),
    ("suppliers[0].revoked", {"suppliers": [supplier("good", revoked=0)]}),
    ("suppliers[0]", {"suppliers": [supplier("good", colour="red")]}),
    ("artefacts[0].supplier", {"artefacts": [artefact("m", supplier="nobody")]}),
    ("artefacts[0].category", {"artefacts": [artefact("m", category="toy")]}),
    ("artefacts[0].content_hash", {"artefacts": [artefact("m", content_hash="5" * 64)]}),
    ("artefacts[0].mirrors", {"artefacts": [artefact("m", mirrors=["a", "a"])]}),
    ("artefacts[0].id", {"artefacts": [artefact("a b")]}),
    ("artefacts", {"artefacts": [artefact("m"), artefact("m")]}),
    (
        "artefacts[0].builds[0].manifests",
        {"artefacts": [artefact("m", builds=[{"build": "b", "manifests": [], "announcement": None}])]},
    ),
    ("revocations[0].reason", {"revocations": [{"category": "model", "id": "m", "reason": ""}]}),
    ("revocations", {"revocations": {}}),
]


@pytest.mark.parametrize(("field", "members"), FAULTS)
def test_a_registry_is_read_strictly(field: str, members: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as refused:
        parsed(**members)
    assert refused.value.field.startswith(f"registry.{field}")


def test_a_registry_has_one_spelling() -> None:
    with pytest.raises(Malformed, match="RFC 8785"):
        parse_registry(json.dumps(document()).encode(), "registry")


def test_revoked_models_and_those_of_barred_suppliers_are_banned() -> None:
    banned = interdicted(parsed())
    assert banned.models == {"of-gone", "of-barred", "withdrawn", GONE, WITHDRAWN}
    assert banned.suppliers == {"gone", "barred"}
    assert origin_of(parsed(), "unknown", "doubtful") == "FR"
    assert origin_of(parsed(), "unknown") is None


def test_risks_are_summed_as_the_page_says() -> None:
    registry = parsed()
    risks = {name: risk_of(registry, one) for (_, name), one in registry.artefacts.items()}
    assert (risks["sound"].score, risks["sound"].band, risks["sound"].reasons) == (0, "low", ())
    assert risks["doubtful"].score == 40 + 2 * 5 + 20 + 10 + 5
    assert risks["doubtful"].band == "critical"
    for name in ("of-gone", "of-barred", "withdrawn"):
        assert (risks[name].score, risks[name].band, len(risks[name].reasons)) == (100, "critical", 1)
    assert [band_of(score) for score in (0, 24, 25, 49, 50, 74, 75, 100)] == [
        *("low", "low", "medium", "medium", "high", "high", "critical", "critical"),
    ]
    page = (Path(__file__).parent.parent / "docs" / "registry.md").read_text()
    for points in re.findall(r"\(\+(\d+)\)", " ".join(risks["doubtful"].reasons)):
        assert points in page


def test_a_fleet_adds_up() -> None:
    summary = summarise_risk(parsed())
    assert (summary["artefacts"], summary["suppliers"], summary["worst"]) == (6, 4, 100)
    assert summary["by_tier"] == [{"tier": 1, "artefacts": 5}, {"tier": 3, "artefacts": 1}]
    assert {row["band"]: row["artefacts"] for row in summary["by_band"]} == {
        "critical": 4, "high": 0, "medium": 0, "low": 2,
    }  # fmt: skip
    assert summary["sanctioned"] == {"suppliers": ["barred"], "artefacts": [{"category": "model", "id": "of-barred"}]}
    assert summary["revoked"]["suppliers"] == ["gone"]


MODELS = [{"id": name, "provider": "mock"} for name in ("sound", "of-gone", "own")]
TABLE = {"providers": [{"id": "mock", "family": "mock"}], "models": MODELS}
NAMED = {"registry": {"keys": [key.hex() for key in SIGNERS.keys], "threshold": 2}}


def test_what_is_in_force_steers_who_is_asked_and_is_attested() -> None:
    config = decode_config(TABLE | NAMED | {"registry_document": signed().decode()}, {})
    sound, of_gone, own = config.models.models
    assert (sound.supplier, sound.content_hash, sound.registered_hash, sound.mirror) == ("good", HASH, HASH, None)
    assert (own.supplier, own.content_hash) == (None, None)
    assert config.rules.suppliers["shady"] == "FR"
    assert config.rules.interdicted.blocks(config.models.route("of-gone")) is not None
    assert config.rules.interdicted.blocks(config.models.route("sound")) is None
    assert of_gone.supplier == "gone"
    without = decode_config(TABLE | NAMED, {})
    for name in ("models", "policies", "settings"):
        assert config.digests()[name] != without.digests()[name]


def test_revoked_weights_are_banned_by_any_name_and_prefixes_stay() -> None:
    more = [
        {"id": "mine", "provider": "mock", "content_hash": WITHDRAWN},
        {"id": "any", "prefix": "or/", "provider": "mock"},
    ]
    table = TABLE | NAMED | {"models": MODELS + more, "registry_document": signed().decode()}
    config = decode_config(table, {})
    assert config.rules.interdicted.blocks(config.models.route("mine")) is not None
    assert config.models.route("or/another").model.upstream_model == "another"


def test_a_stored_registry_without_its_keys_stops_the_start() -> None:
    for table in ({}, {"registry": {"keys": [KEYS[2].verify_key.encode().hex()]}}):
        with pytest.raises(Malformed, match="registry"):
            decode_config(TABLE | table | {"registry_document": signed().decode()}, {})


def test_a_model_of_one_mirror_names_it() -> None:
    raw = signed(artefacts=[artefact("sound", mirrors=["eu-1"])]).decode()
    (model, *_) = decode_config(TABLE | NAMED | {"registry_document": raw}, {}).models.models
    assert model.mirror == "eu-1"


def test_the_own_bill_is_the_same_each_time_and_says_what_is_installed() -> None:
    first, again = (run_cli("bom").stdout for _ in range(2))
    assert first == again
    bom = parse_bom(first.encode(), "bom")
    names = {row["name"] for row in bom["components"]}
    assert {"starlette", "cryptography", "sqlalchemy"} <= names
    assert not {"pytest", "mypy"} & names
    assert bom["metadata"]["component"]["name"] == "saferouter"
    assert {row["ref"] for row in bom["dependencies"]} == {
        bom["metadata"]["component"]["bom-ref"], *(row["bom-ref"] for row in bom["components"])
    }  # fmt: skip
    assert b'"timestamp"' not in first.encode()


def test_a_bill_changes_with_what_it_lists() -> None:
    one = [Package("saferouter", "1", None, ("b",)), Package("b", "1", "MIT", ())]
    serials = {
        appliance_bom("1", HASH, packages)["serialNumber"]
        for packages in (one, one[::-1], [one[0], replace(one[1], version="2")])
    }
    assert len(serials) == 2


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"bomFormat":"CycloneDX","specVersion":"1.5"}', b"no"])
def test_what_is_no_bill_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_bom(raw, "bom")


def test_the_commands_sign_check_and_show(tmp_path: Path) -> None:
    keys = [tmp_path / f"key-{number}" for number in (1, 2)]
    public = [run_cli("measure", "new-key", str(path)).stdout.strip() for path in keys]
    plain, once, twice = (tmp_path / name for name in ("plain.json", "once.json", "twice.json"))
    plain.write_text(json.dumps(document(), indent=2))
    assert run_cli("registry", "sign", str(plain), "--key", str(keys[0]), "--out", str(once)).returncode == 0
    assert run_cli("registry", "sign", str(once), "--key", str(keys[1]), "--out", str(twice)).returncode == 0
    trusted = ["--key", public[0], "--key", public[1], "--threshold", "2", "--at", "2026-11-21T05:47:00Z"]
    good = run_cli("registry", "check", str(twice), *trusted, "--json")
    assert good.returncode == 0, good.stdout + good.stderr
    assert json.loads(good.stdout)["interdicted"]["suppliers"] == ["barred", "gone"]
    for file, more in ((once, []), (twice, ["--after", str(later(tmp_path))])):
        bad = run_cli("registry", "check", str(file), *trusted, *more)
        assert (bad.returncode, bad.stdout.startswith("Rejected: ")) == (1, True)
    shown = run_cli("registry", "show", str(plain))
    assert shown.stdout.startswith("UNVERIFIED")
    assert "revoked model withdrawn: it leaks" in shown.stdout


def later(folder: Path) -> Path:
    path = folder / "later.json"
    path.write_text(json.dumps(document(sequence=8)))
    return path
