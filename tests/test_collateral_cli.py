"""`saferouter collateral`, `report verify --cache` and the gateway's settings: what an operator does and reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.config import decode_config
from tee.attest.mock import MockChip, load_chip_secrets
from tee.cli import app
from tee.collateral import cli as collateral_cli
from tee.errors import Malformed, Unavailable
from tests.vectors import der
from tests.vectors.certificates import ARK, ASK, DAY, RevocationList, vek, vek_values, vlek_values
from tests.vectors.reports import VLEK as VLEK_FIELDS
from tests.vectors.reports import report
from tests.vectors.signing import RSA, ec_key, ec_spki
from tests.worlds.gateway import COMMAND, free_port, run_cli
from tests.worlds.kds import KeyServer, key_server, mock_products, pem
from tests.worlds.sev_chip import certificate_table
from tests.worlds.sev_guest import SevGuestMachine, build_shim

RUNNER = CliRunner()
DEMO: dict[str, Any] = {
    "providers": [{"id": "mock", "family": "mock"}],
    "models": [{"id": "mock-1", "provider": "mock"}],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the commands under the mock root: only Python can do that."""
    monkeypatch.setattr(collateral_cli, "PRODUCTS", {"Genoa": mock_products()["Genoa"]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as world:
        yield world


def fresh_crl(age_days: int = 1) -> bytes:
    now = datetime.now(UTC).replace(microsecond=0)
    return RevocationList(this_update=now - age_days * DAY, next_update=now + 9 * DAY).der()


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, ["collateral", *arguments, "--cache", "kept"])


def keep(**files: bytes) -> Result:
    """Import these files; a name says what is in it."""
    for name, raw in files.items():
        Path(name).write_bytes(raw)
    return run("import", *files)


def listed() -> list[dict[str, Any]]:
    """What `list --json` says."""
    rows: list[dict[str, Any]] = json.loads(run("list", "--json").output)["files"]
    return rows


GOOD = {"chain": pem(ASK.der()) + pem(ARK.der()), "vcek": vek().der()}


def test_files_are_sorted_by_what_they_are(folder: Path) -> None:
    result = keep(crl=fresh_crl(), **GOOD)
    assert result.exit_code == 0, result.exception
    names = sorted(result.output.split())
    assert names == sorted(path.name for path in Path("kept").iterdir())
    starts = {"Genoa-vcek-chain", "Genoa-vcek-crl.d", "Genoa-vlek-chain", "Genoa-vlek-crl.d", "Genoa-vcek-40414"}
    assert {name[:16] for name in names} == starts
    rows = listed()
    assert {(row["content"], row["problem"]) for row in rows} == {("chain", None), ("crl", None), ("vcek", None)}
    assert all(row["until"] > row["written_at"] for row in rows)
    words = run("list").output
    assert "Genoa-vcek-chain.pem\n  until 20" in words
    assert "kept for 0 days" in words


@pytest.mark.parametrize("order", [("ark", "ask"), ("ask", "ark")])
def test_a_chain_may_come_in_two_files(folder: Path, order: tuple[str, str]) -> None:
    parts = {"ask": ASK.der(), "ark": pem(ARK.der())}
    assert keep(**{name: parts[name] for name in order}).exit_code == 0
    assert keep(ark=ARK.der()).exit_code == 0, "it is kept already"
    assert keep(ask=ASK.der()).exit_code == 0
    assert [row["content"] for row in listed()] == ["chain", "chain"]


def test_a_second_import_needs_no_chain(folder: Path) -> None:
    keep(chain=GOOD["chain"])
    assert keep(vcek=GOOD["vcek"], crl=fresh_crl()).exit_code == 0
    assert len(listed()) == 5


YESTERDAY = datetime.now(UTC) - DAY
REFUSALS: dict[str, tuple[dict[str, bytes], str]] = {
    "an ASK alone": ({"ask": ASK.der()}, "ask: found SAFEROUTER-MOCK-ASK alone, wanted SAFEROUTER-MOCK-ARK beside it"),
    "an ARK alone": ({"ark": ARK.der()}, "ark: found SAFEROUTER-MOCK-ARK alone, wanted its ASK or ASVK beside it"),
    "a VCEK alone": ({"vcek": vek().der()}, "vcek: found chain: nothing, wanted SAFEROUTER-MOCK-ASK and its ARK"),
    "a list alone": ({"crl": fresh_crl()}, "crl: found CRL: a list of an authority that is not here, wanted its chain"),
    "a VLEK": (
        GOOD | {"vlek": vek(vlek_values(), "SEV-VLEK").der()},
        "vlek: found VEK: SEV-VLEK, wanted a VCEK: a VLEK comes from the host with each report",
    ),
    "a VCEK of another product": (
        GOOD | {"vcek2": vek(vek_values("Milan")).der()},
        "vcek2: found VEK.productName: Milan, wanted one of Genoa",
    ),
    "a VCEK of another signer": (
        GOOD | {"vcek2": replace(vek(), signer=ARK.signer).der()},
        "vcek2: found VCEK.signature: one by SAFEROUTER-MOCK-ASK that does not verify",
    ),
    "an expired VCEK": (
        GOOD | {"vcek2": replace(vek(), not_after=der.utc_time(YESTERDAY)).der()},
        "vcek2: found VCEK: valid from",
    ),
    "an authority that is not pinned": (
        GOOD | {"ask2": replace(ASK, serial=der.integer(9)).der()},
        "ask2: found SAFEROUTER-MOCK-ASK",
    ),
    "an expired list": (
        GOOD | {"crl": RevocationList(this_update=YESTERDAY - DAY, next_update=YESTERDAY).der()},
        "crl: found CRL: a list for",
    ),
    "another one's list": (
        GOOD | {"crl": RevocationList(signer=RSA["ask"].sign).der()},
        "that SAFEROUTER-MOCK-ARK did not",
    ),
    "two keys of one chip": (
        GOOD | {"vcek2": replace(vek(), spki=ec_spki(ec_key("another chip"))).der()},
        "vcek2: found VCEK.spki: ",
    ),
    "text": (GOOD | {"notes": b"hello"}, "notes: found 5 bytes that are neither, wanted PEM or DER"),
    "a cut file": (GOOD | {"vcek2": vek().der()[:-9]}, "vcek2: found"),
    "nothing": (GOOD | {"empty": b""}, "empty: found 0 bytes that are neither"),
    "a large file": (GOOD | {"large": bytes((1 << 20) + 1)}, "large: found a larger file, wanted at most 1048576"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_not_proven_is_refused_by_file_and_nothing_is_kept(folder: Path, name: str) -> None:
    files, words = REFUSALS[name]
    result = keep(**files)
    assert isinstance(result.exception, Malformed)
    assert words in str(result.exception)
    assert not listed()


def test_an_import_replaces_no_newer_list_and_no_other_key(folder: Path) -> None:
    keep(crl=fresh_crl(), **GOOD)
    result = keep(older=fresh_crl(age_days=3))
    assert "older: found CRL.thisUpdate: 20" in str(result.exception)
    result = keep(vcek=replace(vek(), spki=ec_spki(ec_key("another chip"))).der())
    assert "vcek: found VCEK.spki: " in str(result.exception)
    assert "cannot change" in str(result.exception)
    assert keep(crl=fresh_crl(age_days=0)).exit_code == 0


def test_list_names_what_is_wrong(folder: Path) -> None:
    assert "Nothing is kept in kept." in run("list").output
    keep(crl=fresh_crl(), **GOOD)
    vcek = next(path for path in Path("kept").iterdir() if "-vcek-40" in path.name)
    vcek.write_bytes(replace(vek(), not_after=der.utc_time(YESTERDAY)).der())
    Path("kept/Genoa-vcek-crl.der").write_bytes(b"rot")
    Path("kept/notes.txt").write_text("hello")
    Path("kept/Genoa-vlek-4041424344454647-0000000000000000.der").write_bytes(b"")
    problems = {row["file"]: row["problem"] for row in listed() if row["problem"]}
    assert len(problems) == 4
    assert "wanted one in force" in problems[vcek.name]
    assert "kept/Genoa-vcek-crl.der: found CRL: 3 bytes that are neither" in problems["Genoa-vcek-crl.der"]
    assert "a name that means nothing here" in problems["notes.txt"]
    assert "  not used: notes.txt: found a name that means nothing here" in run("list").output
    for name in ("vcek", "vlek"):
        Path(f"kept/Genoa-{name}-chain.pem").write_bytes(b"rot")
    problems = {row["file"]: row["problem"] for row in listed()}
    assert "wanted SAFEROUTER-MOCK-ARK, to prove this list" in problems["Genoa-vlek-crl.der"]
    assert "wanted SAFEROUTER-MOCK-ASK and its ARK" in problems[vcek.name]
    assert "chain: 3 bytes that are neither" in problems["Genoa-vcek-chain.pem"]
    shutil.rmtree("kept")
    Path("kept").write_text("no folder")
    assert "kept: cannot be read: Not a directory" in str(run("list").exception)
    assert "cannot be written: " in str(keep(**GOOD).exception)


def test_fetch_asks_for_what_neither_host_nor_cache_has(folder: Path, server: KeyServer) -> None:
    Path("report.bin").write_bytes(report())
    options = ("fetch", "--report", "report.bin", "--kds-url", server.url)
    result = run(*options, "--json")
    assert result.exit_code == 0, result.exception
    until = json.loads(result.output)["until"]
    assert list(until) == ["SEV-VCEK", "SAFEROUTER-MOCK-ASK", "SAFEROUTER-MOCK-ARK", "CRL"]
    assert len(server.requests) == 3
    assert "CRL              until 2" in run(*options).output
    assert len(server.requests) == 3
    Path("report.bin").write_bytes(report(VLEK_FIELDS))
    Path("table.bin").write_bytes(certificate_table({"vlek": vek(vlek_values(), "SEV-VLEK").der()}))
    assert run(*options, "--table", "table.bin").exit_code == 0
    assert server.requests[3:] == ["/vlek/v1/Genoa/cert_chain", "/vlek/v1/Genoa/crl"]
    assert isinstance(run(*options).exception, Unavailable)


def test_fetch_says_what_is_missing(folder: Path, server: KeyServer) -> None:
    Path("report.bin").write_bytes(report())
    server.lies = {"/crl": "429:60"}
    result = run("fetch", "--report", "report.bin", "--kds-url", server.url)
    assert str(result.exception) == "report.bin: all its certificates are here, but no revocation list"
    assert "Warning: " in result.output
    assert "answered 429, too many requests; not asked again before" in result.output
    result = run("fetch", "--report", "report.bin", "--kds-url", "ftp://kds")
    assert "--kds-url: found" in str(result.exception)
    assert run("fetch", "--report", "report.bin", "--kds-url", "").exception is not None


def test_a_mirror_cannot_swap_the_root(server: KeyServer, tmp_path: Path) -> None:
    """The command as installed: no option and no variable names another root."""
    (tmp_path / "report.bin").write_bytes(report())
    cache = {"SAFEROUTER_COLLATERAL": str(tmp_path / "kept")}
    done = run_cli("collateral", "fetch", "--report", tmp_path / "report.bin", "--kds-url", server.url, environ=cache)
    assert done.returncode == 3
    assert "its answer is refused: chain: found SAFEROUTER-MOCK-ASK" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "chain.pem").write_bytes(GOOD["chain"])
    done = run_cli("collateral", "import", tmp_path / "chain.pem", environ=cache)
    assert done.returncode == 2
    assert "wanted an authority of AMD's that is pinned here (Milan, Genoa, Turin)" in done.stderr
    assert not (tmp_path / "kept").exists()


# With AMD's own certificates, and the report of an EC2 guest.

EC2 = "snp/milan-v3-vlek-aws-us-east-2-vmpl1-trustee"
EC2_TIME = "2025-06-01T00:00:00Z"  # its VLEK and the stored list hold


@pytest.fixture
def amd_cache(vectors: Path, tmp_path: Path) -> Path:
    cache = tmp_path / "kept"
    names = [vectors / "roots" / f"{name}-milan.der" for name in ("ark", "ask", "asvk")]
    done = run_cli("collateral", "import", *names, "--cache", cache)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Milan-vcek-chain.pem", "Milan-vlek-chain.pem"]
    return cache


def test_an_ec2_report_verifies_by_its_table_and_the_cache(vectors: Path, amd_cache: Path) -> None:
    # As an import of that day left it.
    (amd_cache / "Milan-vlek-crl.der").write_bytes((vectors / "crl/vcek-milan.crl.der").read_bytes())
    table = vectors / "certtable/aws-shape-padded-16k.bin"
    options = ["report", "verify", str(vectors / EC2 / "report.bin"), "--table", str(table), "--at", EC2_TIME]
    result = RUNNER.invoke(app, [*options, "--cache", str(amd_cache), "--json"])
    document = json.loads(result.output)
    assert document["verdict"] == "authentic"
    outcomes = {check["id"]: check["outcome"] for check in document["checks"]}
    assert (outcomes["hw.root"], outcomes["hw.revocation"]) == ("pass", "pass")
    # What somebody gives is judged, whatever better is kept.
    for given, name in (("--crl", "crl/vcek-genoa.crl.der"), ("--vek", "snp/milan-v2-vcek-virtee/vek.der")):
        result = RUNNER.invoke(app, [*options, "--cache", str(amd_cache), given, str(vectors / name)])
        assert f"FAIL {'hw.revocation' if given == '--crl' else 'hw.certificate'}" in result.output
    alone = RUNNER.invoke(app, options)
    assert "found ASK: nothing, wanted the ASK or ASVK, given as a file or in the table" in alone.output
    empty = RUNNER.invoke(app, [*options, "--cache", str(amd_cache / "none")])
    assert "given as a file, in the table or in the cache" in empty.output


def test_todays_expired_list_is_not_imported(vectors: Path, amd_cache: Path) -> None:
    done = run_cli("collateral", "import", vectors / "crl/vcek-milan.crl.der", "--cache", amd_cache)
    assert done.returncode == 2
    assert "vcek-milan.crl.der: found CRL: a list for 2025-05-06T12:39:06Z to 2026-05-12T00:00:00Z" in done.stderr


def test_the_report_chooses_where_a_table_holds_both_kinds(vectors: Path, tmp_path: Path) -> None:
    vlek, roots = (vectors / EC2 / "vek.der").read_bytes(), vectors / "roots"
    virtee = vectors / "snp/milan-v2-vcek-virtee"
    both = {"vcek": (virtee / "vek.der").read_bytes(), "vlek": vlek, "ark": (roots / "ark-milan.der").read_bytes()}
    (tmp_path / "both.bin").write_bytes(certificate_table(both))
    chain = ["--chain", str(roots / "ask-milan.der"), "--chain", str(roots / "asvk-milan.der")]
    for order in (chain, chain[2:] + chain[:2]):
        for name, at in ((vectors / EC2, EC2_TIME), (virtee, "2023-05-03T19:23:43Z")):
            options = ["report", "verify", str(name / "report.bin"), "--table", str(tmp_path / "both.bin"), "--at", at]
            result = RUNNER.invoke(app, [*options, *order, "--json"])
            assert json.loads(result.output)["verdict"] == "authentic", result.output
    # Where one kind alone is there, verification says that it does not fit.
    (tmp_path / "one.bin").write_bytes(certificate_table({name: both[name] for name in ("vcek", "ark")}))
    options = ["report", "verify", str(vectors / EC2 / "report.bin"), "--table", str(tmp_path / "one.bin"), *chain]
    assert "FAIL hw.certificate          found SEV-VCEK with hwID, wanted SEV-VLEK with cspID" in (
        RUNNER.invoke(app, options).output
    )


# The gateway.


def test_the_settings_name_the_cache_and_the_server() -> None:
    plain = decode_config(DEMO, {})
    assert (plain.collateral_folder, plain.kds_url) == (Path(".saferouter/collateral"), "https://kdsintf.amd.com")
    chosen = decode_config(DEMO | {"collateral": "/var/cache/amd", "kds_url": "https://kds.example.com/"}, {})
    assert (chosen.collateral_folder, chosen.kds_url) == (Path("/var/cache/amd"), "https://kds.example.com")
    moved = decode_config(DEMO | {"collateral": "/var/cache/amd"}, {"SAFEROUTER_COLLATERAL": "/srv/amd"})
    assert moved.collateral_folder == Path("/srv/amd")
    offline = decode_config(DEMO | {"kds_url": ""}, {})
    assert offline.kds_url is None
    digests = {config.digests()["settings"] for config in (plain, chosen, offline)}
    assert len(digests) == 3, "which server is asked is attested"
    assert moved.digests() == plain.digests(), "where its proven answers are kept steers nothing"
    with pytest.raises(Malformed, match=r"config\.kds_url: found \"ftp://x\", wanted https://HOST"):
        decode_config(DEMO | {"kds_url": "ftp://x"}, {})


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


def _serve(chip_file: Path, shim: Path, folder: Path, kds_url: str) -> str:
    """What the operator of a gateway reads whose host holds no certificate and whose key server is that one."""
    chip = MockChip(load_chip_secrets(chip_file.parent), bytes(range(48)))
    with SevGuestMachine(chip, shim) as machine:
        machine.table = b""
        config = folder / "gateway.toml"
        text = 'providers = [{id = "mock", family = "mock"}]\nmodels = [{id = "mock-1", provider = "mock"}]\n'
        config.write_text(f'kds_url = "{kds_url}"\n{text}')
        environ = machine.environ("ok") | {"PORT": str(free_port())}
        command = [str(COMMAND), "serve", "--config", str(config)]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_gateway_asks_the_server_of_its_settings(
    chip_file: Path, shim: Path, tmp_path: Path, server: KeyServer
) -> None:
    words = _serve(chip_file, shim, tmp_path, server.url)
    assert "there is no VCEK and ASK and ARK: looked in the host's certificate table (it holds nothing) and" in words
    assert "the cache .saferouter/collateral and AMD's keys at http://127.0.0.1" in words
    assert "its answer is refused: chain: found SAFEROUTER-MOCK-ASK" in words
    assert server.requests == ["/vcek/v1/Genoa/cert_chain"]


def test_a_gateway_without_a_server_says_so(chip_file: Path, shim: Path, tmp_path: Path) -> None:
    words = _serve(chip_file, shim, tmp_path, "")
    assert "the cache .saferouter/collateral and no key server, since none is configured" in words
