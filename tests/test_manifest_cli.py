"""Manifests on the command line: stated, signed by several people, verified against a gateway, not rolled back."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from tee.cli import app
from tests.conftest import ROOT
from tests.worlds.firmware import firmware_image
from tests.worlds.gateway import PLAIN, RunningGateway, run_cli

RUNNER = CliRunner()
EC2 = ROOT / "measurements" / "ec2-firmware.json"
EC2_TWO_VCPUS = "507e82d27ea5b951dd765a3eb31ba5f582673b301d6983ded482d3feb066cb68979f1f11fede97687374d3a25002a15f"
Document = dict[str, Any]


def run(*arguments: str | Path) -> str:
    """Standard output of a command that succeeds."""
    done = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@dataclass
class Release:
    """Three people with a key each, two of whom must sign, and the build of a running gateway."""

    folder: Path
    build: Document
    public: list[str]

    def key(self, number: int) -> Path:
        return self.folder / f"{number}.key"

    @property
    def launch(self) -> Path:
        return self.folder / "launch.json"

    @property
    def memory(self) -> Path:
        return self.folder / "memory.json"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.toml"

    def state(self, name: str, *options: str | Path, version: str = "0.1.0") -> Path:
        """An unsigned statement of this build."""
        facts = ("--repo-url", "https://git.example.com/saferouter", "--repo-commit", self.build["repo_commit"])
        digest = ("--source-digest", self.build["source_digest"], "--expires", "2099-01-01")
        artefact = ("--artefact", ROOT / "LICENSE")
        text = run("measure", "manifest", "--release", f"saferouter {version}", *facts, *digest, *artefact, *options)
        path = self.folder / f"{name}.statement"
        path.write_text(text)
        return path

    def sign(self, statement: Path, *numbers: int) -> Path:
        """Signed by these people, one after another."""
        signed = statement.with_suffix(".json")
        for number in numbers:
            source = signed if signed.exists() else statement
            run("measure", "sign", source, "--key", self.key(number), "--out", signed)
        return signed

    def verify(
        self, target: str | Path, *manifests: Path, options: tuple[str | Path, ...] = ()
    ) -> tuple[int, Document]:
        given = [word for path in manifests for word in ("--manifest", path)]
        rest = ("--policy", self.policy, "--memory", self.memory, "--accept-mock", "--json")
        done = RUNNER.invoke(app, [*map(str, ("verify", target, *given, *rest, *options))], catch_exceptions=False)
        return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def release(live_gateway: RunningGateway, tmp_path: Path) -> Release:
    quote = httpx2.post(live_gateway.url + "/attestation/quote", **PLAIN).json()
    build = quote["workload"]["build"]
    # A package that was installed without its repository names no commit.
    build = build | {"repo_commit": build["repo_commit"] or "0" * 40}
    public = [run("measure", "new-key", tmp_path / f"{number}.key").strip() for number in (1, 2, 3)]
    made = Release(tmp_path, build, public)
    measurement = tomllib.loads(live_gateway.policy.read_text())["measurements"][0]
    made.launch.write_text(json.dumps({"measurement": measurement, "covers": "workload", "inputs": None}))
    keys = json.dumps(public)
    made.policy.write_text(f"[releases]\nkeys = {keys}\nthreshold = 2\n")
    return made


def check(verdict: Document, check_id: str = "code.release") -> Document:
    found: Document = next(row for row in verdict["checks"] if row["id"] == check_id)
    return found


def failures(verdict: Document) -> list[str]:
    return [row["id"] for row in verdict["checks"] if row["outcome"] == "fail"]


def test_a_release_signed_by_two_of_three_verifies_its_gateway(live_gateway: RunningGateway, release: Release) -> None:
    manifest = release.sign(release.state("one", "--launch", release.launch, "--platform", "mock"), 1, 3)
    code, verdict = release.verify(live_gateway.url, manifest)
    assert (code, verdict["verdict"]) == (0, "verified"), verdict
    assert check(verdict)["found"] == "saferouter 0.1.0, by manifest 1 until 2099-01-01T00:00:00Z"
    assert not [line for line in verdict["not_proven"] if line.startswith("code.release")]
    assert list(json.loads(release.memory.read_text()).values()) == [1]


def test_without_its_manifest_nothing_is_accepted(live_gateway: RunningGateway, release: Release) -> None:
    code, verdict = release.verify(live_gateway.url)
    assert (code, verdict["verdict"]) == (1, "rejected")
    assert {check(verdict, name)["outcome"] for name in ("code.measurement", "code.release")} == {"skip"}
    done = run_cli("verify", live_gateway.url, "--policy", release.policy, "--accept-mock")
    (sentence,) = [line for line in done.stdout.splitlines() if line.startswith("Rejected")]
    assert "your policy lists no measurement, and no signed manifest in force adds one" in sentence


def test_one_signature_is_not_enough(live_gateway: RunningGateway, release: Release) -> None:
    manifest = release.sign(release.state("one", "--launch", release.launch), 2)
    code, verdict = release.verify(live_gateway.url, manifest)
    assert (code, failures(verdict)) == (1, ["code.release"])
    assert check(verdict)["found"].endswith("good signatures by 1")
    assert not release.memory.exists()  # what was not accepted is not remembered


def test_signing_again_replaces_ones_own_signature(live_gateway: RunningGateway, release: Release) -> None:
    manifest = release.sign(release.state("one", "--launch", release.launch), 1, 1, 2, 2)
    assert len(json.loads(manifest.read_text())["signatures"]) == 2
    assert release.verify(live_gateway.url, manifest)[0] == 0


def test_an_older_manifest_is_refused_once_a_newer_one_was_seen(live_gateway: RunningGateway, release: Release) -> None:
    first = release.sign(release.state("first", "--launch", release.launch), 1, 2)
    second = release.sign(
        release.state("second", "--launch", release.launch, "--previous", first, version="0.2.0"), 1, 2
    )
    assert release.verify(live_gateway.url, first)[0] == 0
    code, verdict = release.verify(live_gateway.url, second)
    assert (code, check(verdict)["found"][:33]) == (0, "saferouter 0.2.0, by manifest 2 u")
    code, verdict = release.verify(live_gateway.url, first)
    assert (code, failures(verdict)) == (1, ["code.release"])
    assert check(verdict)["found"] == "manifests: manifest 1"
    assert check(verdict)["wanted"] == "at least manifest 2, seen here before"


def test_a_retired_release_is_refused_though_its_manifest_is_given(
    live_gateway: RunningGateway, release: Release
) -> None:
    first = release.sign(release.state("first", "--launch", release.launch), 1, 2)
    kept = release.sign(release.state("kept", "--previous", first, version="0.2.0"), 1, 2)
    code, verdict = release.verify(live_gateway.url, first, kept)
    assert (code, check(verdict)["found"][:33]) == (0, "saferouter 0.1.0, by manifest 1 u")
    retire = ("--retire", "saferouter 0.1.0=a flaw in its parser", "--since", "2026-01-01")
    gone = release.sign(release.state("gone", "--previous", kept, *retire, version="0.3.0"), 2, 3)
    code, verdict = release.verify(live_gateway.url, gone, first, kept)
    assert (code, failures(verdict)) == (1, ["code.release"])
    words = "saferouter 0.1.0, whose release is retired since 2026-01-01T00:00:00Z: a flaw in its parser"
    assert check(verdict)["found"] == words
    # The newest manifest speaks for all, so the next one retires it again.
    after = release.sign(release.state("after", "--launch", release.launch, "--previous", gone, version="0.4.0"), 1, 2)
    shown = run("measure", "show-manifest", after)
    assert "saferouter 0.1.0 since 2026-01-01T00:00:00Z: a flaw in its parser" in shown
    assert shown.startswith("UNVERIFIED")
    assert release.verify(live_gateway.url, after)[0] == 0


def test_another_build_under_the_same_measurement_is_refused(live_gateway: RunningGateway, release: Release) -> None:
    release.build["source_digest"] = "sha256:" + "0" * 64
    manifest = release.sign(release.state("other", "--launch", release.launch), 1, 2)
    code, verdict = release.verify(live_gateway.url, manifest)
    assert (code, failures(verdict)) == (1, ["code.release"])
    assert "but source_digest" in check(verdict)["found"]


def test_a_saved_bundle_and_its_manifest_verify_offline(live_gateway: RunningGateway, release: Release) -> None:
    manifest = release.sign(release.state("one", "--launch", release.launch), 1, 2)
    bundle = release.folder / "gateway.evidence"
    assert release.verify(live_gateway.url, manifest, options=("--save", bundle))[0] == 0
    assert release.verify(bundle, manifest)[0] == 0
    code, verdict = release.verify(bundle, manifest, options=("--at", "2099-01-01"))
    assert code == 1
    assert check(verdict)["found"] == "manifests: manifest 1, expired since 2099-01-01T00:00:00Z"


def test_the_memory_lies_in_the_users_state_folder(live_gateway: RunningGateway, release: Release) -> None:
    manifest = release.sign(release.state("one", "--launch", release.launch), 1, 2)
    state = {"XDG_STATE_HOME": str(release.folder / "state")}
    options = ("--policy", release.policy, "--manifest", manifest, "--accept-mock")
    assert run_cli("verify", live_gateway.url, *options, environ=state).returncode == 0
    assert (release.folder / "state" / "saferouter" / "manifests.json").is_file()


def test_a_manifest_without_release_keys_in_the_policy_is_an_error(
    live_gateway: RunningGateway, release: Release
) -> None:
    manifest = release.sign(release.state("one", "--launch", release.launch), 1, 2)
    for policy in ((), ("--policy", live_gateway.policy)):
        done = run_cli("verify", live_gateway.url, *policy, "--manifest", manifest)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--manifest: found no release keys, wanted a policy with a table [releases]" in done.stderr


def test_verify_manifest_says_what_is_in_force(release: Release) -> None:
    manifest = release.sign(release.state("one", "--launch", release.launch, "--ec2-ladder", EC2), 1, 2)
    keys = [word for key in release.public for word in ("--key", key)]
    shown = run("measure", "verify-manifest", manifest, *keys, "--threshold", "2")
    assert shown.splitlines()[0].split(maxsplit=1) == ["release", "saferouter 0.1.0"]
    assert f"firmware     {EC2_TWO_VCPUS} (ec2, m6a.large, c6a.large, r6a.large" in shown
    assert shown.splitlines()[-1] == "Verified: at least 2 of 3 keys signed it, and it is in force."
    found = json.loads(run("measure", "verify-manifest", manifest, *keys, "--threshold", "2", "--json"))
    assert found["verdict"] == "verified"
    assert found["newest"] == {"release": "saferouter 0.1.0", "sequence": 1, "expires": 4070908800}
    done = run_cli("measure", "verify-manifest", manifest, *keys, "--threshold", "3")
    assert (done.returncode, done.stderr) == (1, "")
    assert "good signatures by 2, wanted 3 of the 3 keys that you trust" in done.stdout
    done = run_cli("measure", "verify-manifest", manifest, *keys, "--threshold", "3", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["fault"]["found"] == "good signatures by 2"


def test_a_recipe_must_give_its_measurement(release: Release) -> None:
    image = release.folder / "OVMF.fd"
    image.write_bytes(firmware_image())
    options = ("--ovmf", image, "--vcpus", "2", "--vcpu-type", "EPYC-v4", "--json")
    launch = json.loads(run("measure", "launch", *options))
    release.launch.write_text(json.dumps(launch))
    statement = release.state("recipe", "--launch", release.launch)
    row = json.loads(statement.read_text())["predicate"]["measurements"][0]
    assert (row["platform"], row["vcpus"], row["covers"]) == ("qemu", 2, "firmware")
    # Whoever signs does not take the stated value on faith.
    text = statement.read_text().replace(launch["measurement"], "00" * 48)
    statement.write_text(text)
    done = run_cli("measure", "sign", statement, "--key", release.key(1), "--out", release.folder / "out.json")
    assert done.returncode == 2
    assert f"wanted {launch['measurement']} (firmware), which its recipe gives" in done.stderr


FAULTS: dict[str, tuple[tuple[str, ...], str]] = {
    "no boot image": (("--boot-image", "00"), "--boot-image: found 1 values, wanted PCR4,PCR7,PCR12"),
    "no reason": (("--retire", "saferouter 0.1.0"), '--retire: found "saferouter 0.1.0", wanted WHAT=REASON'),
    "no release": (("--retire", "saferouter=old"), "retired[0].measurement: found"),
    "no time": (("--expires", "soon"), "--expires: found soon, wanted a time in ISO 8601"),
    "a release without a version": (("--release", "saferouter"), 'release.version: found ""'),
    "a launch that is none": (("--launch", str(EC2)), "ec2-firmware.json.covers: found nothing"),
    "a ladder that is none": (("--ec2-ladder", str(ROOT / "tee" / "checks.json")), "found an array, wanted an object"),
    "a missing artefact": (("--artefact", "/nonexistent"), "/nonexistent: found No such file"),
    "a short commit": (("--repo-commit", "abc"), "repo_commit: found"),
}


@pytest.mark.parametrize(("options", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_statement_is_not_made(options: tuple[str, ...], expected: str) -> None:
    given = {
        "--release": "saferouter 0.1.0",
        "--artefact": str(ROOT / "LICENSE"),
        "--repo-url": "https://git.example.com/saferouter",
        "--repo-commit": "0" * 40,
        "--source-digest": "sha256:" + "0" * 64,
        "--expires": "2099-01-01",
    }
    given |= dict(zip(options[::2], options[1::2], strict=True))
    done = run_cli("measure", "manifest", *(word for pair in given.items() for word in pair))
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert done.stderr.startswith("saferouter: ")


def test_keys_are_private_files_and_never_overwritten(release: Release) -> None:
    statement, key = release.state("one", "--launch", release.launch), release.key(1)
    assert key.stat().st_mode & 0o777 == 0o600
    done = run_cli("measure", "new-key", key)
    assert done.returncode == 2
    sign = ("measure", "sign", statement, "--out", release.folder / "out.json", "--key")
    key.chmod(0o640)
    done = run_cli(*sign, key)
    assert (done.returncode, "a key that others may read" in done.stderr) == (2, True)
    short = release.folder / "short.key"
    short.write_bytes(b"\x01" * 31)
    short.chmod(0o600)
    assert "a seed of 32 bytes" in run_cli(*sign, short).stderr
    assert not (release.folder / "out.json").exists()


def test_the_values_of_ec2_are_data_with_their_dates() -> None:
    data = json.loads(EC2.read_text())
    values = {row["vcpus"]: row["value"] for row in data["measurements"]}
    assert values[2] == EC2_TWO_VCPUS
    ladder = json.loads(run("measure", "ladder", "--known", EC2_TWO_VCPUS, "--vcpus", "2", "--json"))
    assert values == {2: EC2_TWO_VCPUS} | {int(count): digest for count, digest in ladder["measurements"].items()}
    assert {row["covers"] for row in data["measurements"]} == {"firmware"}
    old = [row["measurement"] for row in data["retired"]]
    ladder = json.loads(run("measure", "ladder", "--known", old[0], "--vcpus", "2", "--rdx", "0", "--json"))
    assert old == [old[0], *(digest for digest in ladder["measurements"].values() if digest != old[0])]
