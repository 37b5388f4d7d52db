"""Where the shared vectors are, and what happens where they are not."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tee.attest.mock import load_chip_secrets
from tests.worlds.gateway import RunningGateway
from tests.worlds.pools import said
from tests.worlds.postgres import PostgresServer, postgres_server
from tests.worlds.upstream import UPSTREAM_CREDENTIAL, ScriptedUpstream, scripted_upstream, wired_config

ROOT = Path(__file__).resolve().parent.parent
# What an example takes says more of the machine than of the code.
settings.register_profile("saferouter", deadline=None, print_blob=True)
settings.load_profile("saferouter")


@pytest.fixture(scope="session")
def vectors() -> Path:
    return find_vectors()


def find_vectors() -> Path:
    """The folder of shared vectors; skips, or fails where SAFEROUTER_REQUIRE_VECTORS=1."""
    folder = Path(os.environ.get("SAFEROUTER_VECTORS", ROOT.parent / "shared" / "vectors"))
    if not (folder / "MANIFEST.json").is_file():
        reason = f"no vectors at {folder}: set SAFEROUTER_VECTORS"
        if os.environ.get("SAFEROUTER_REQUIRE_VECTORS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "MANIFEST.json").read_text())
    return manifest


@pytest.fixture(autouse=True)
def _own_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the verifier remembers of gateways stays within one test: a port may be another gateway's later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("memory")))
        yield


@pytest.fixture(scope="session")
def chip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One mock chip for every gateway of the run: its RSA keys are slow to make."""
    folder = tmp_path_factory.mktemp("chip", numbered=False)
    load_chip_secrets(folder)
    return folder / "mock-chip.bin"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole run; skips where none is installed."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A fresh database of it."""
    url = postgres.create()
    yield url
    postgres.take_back(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'record.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedUpstream]:
    """The provider behind the models `wire-1` and `wire-renamed` of `live_gateway`."""
    with scripted_upstream() as provider:
        yield provider


@pytest.fixture(scope="session")
def live_gateway(
    tmp_path_factory: pytest.TempPathFactory, chip_file: Path, upstream: ScriptedUpstream
) -> Iterator[RunningGateway]:
    """One gateway for all tests that do it no harm."""
    state = tmp_path_factory.mktemp("live", numbered=False) / "state"
    environ = {"WIRE_KEY": UPSTREAM_CREDENTIAL}
    with RunningGateway(state, config=wired_config(upstream.base_url), chip=chip_file, environ=environ) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def _pair() -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream]]:
    with scripted_upstream() as first, scripted_upstream() as second:
        yield first, second


@pytest.fixture
def two(_pair: tuple[ScriptedUpstream, ScriptedUpstream]) -> tuple[ScriptedUpstream, ScriptedUpstream]:
    """Two providers, each of which says its number."""
    for number, provider in enumerate(_pair):
        provider.play(said(f"from {number}"))
    return _pair
