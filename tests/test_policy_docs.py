"""What docs/policies.md and deploy/policies show is what the code reads and says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway.config import decode_config
from gateway.routing.policy import BUILT_IN, RoutingPolicy, decode_policies
from tests.worlds.gateway import run_cli

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "policies.md").read_text()
EXAMPLE = PAGE.split("```toml\n")[1].split("```")[0]
FILES = sorted((ROOT / "deploy" / "policies").glob("*.toml"))
OF_ITS_OWN = ("id", "version", "display_name", "digest")  # what is there without a demand


def demands(policy: RoutingPolicy) -> set[str]:
    """The fields that differ from a policy that says nothing."""
    names = [name for name in RoutingPolicy.__slots__ if name not in OF_ITS_OWN]
    return {name for name in names if getattr(policy, name) != getattr(RoutingPolicy("x"), name)}


def read(path: Path) -> RoutingPolicy:
    (row,) = tomllib.loads(path.read_text())["policies"]
    return next(policy for policy in decode_policies([row], "policies") if policy.id == row["id"])


def test_the_page_shows_every_field() -> None:
    config = decode_config(tomllib.loads(EXAMPLE), {})
    policy = config.rules.policy("clinical-fr")
    assert policy is not None
    assert demands(policy) == {name for name in RoutingPolicy.__slots__ if name not in OF_ITS_OWN}
    assert [route.connector.id for route in config.models.served_by(config.models.route("llm-fr"))] == [
        "own",
        "partner",
    ]


def test_the_page_shows_what_the_command_prints(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(EXAMPLE)
    command, shown = PAGE.split("$ saferouter policy explain ")[1].split("```")[0].split("\n", 1)
    words = command.replace("gateway.toml", str(path)).split()
    done = run_cli("policy", "explain", *words, environ={"SAFEROUTER_STATE": str(tmp_path / "state")})
    assert (done.returncode, done.stdout) == (1, shown), done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_example_file_is_about_one_field_or_is_built_in(path: Path) -> None:
    policy = read(path)
    assert policy.id == path.stem
    built_in = {each.id: each for each in BUILT_IN}
    if policy.id in built_in:
        assert policy == built_in[policy.id]
    else:
        assert len(demands(policy)) == 1


def test_there_is_an_example_of_each_field() -> None:
    shown = set().union(*(demands(read(path)) for path in FILES))
    assert shown == {name for name in RoutingPolicy.__slots__ if name not in OF_ITS_OWN}
    assert {"default", "clinical-strict"} <= {path.stem for path in FILES}


def test_files_are_checked_before_they_are_taken_on(tmp_path: Path) -> None:
    good = run_cli("policy", "check", FILES[0])
    assert (good.returncode, good.stdout) == (0, f"{read(FILES[0]).id}: version 1, {read(FILES[0]).digest}\n")
    bad = tmp_path / "bad.toml"
    for text, word in (
        ('[[policies]]\nid = "x"\nrequire_tier = "best"\n', "policies[0].require_tier"),
        ("", "at least one [[policies]]"),
        ("[[", "TOML"),
    ):
        bad.write_text(text)
        done = run_cli("policy", "check", bad)
        assert done.returncode not in (0, 1) and word in done.stderr, done.stderr
    listed = run_cli("policy", "list", environ={"SAFEROUTER_STATE": str(tmp_path / "state")})
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["default", "clinical-strict"]
