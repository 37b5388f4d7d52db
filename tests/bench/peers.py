"""What the gateway is compared with: LiteLLM and Portkey from their registries, and nginx, which is the limit."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.native import LANES, MODEL, SUBJECT_CORE, Place, on_core
from tests.worlds.gateway import COMMAND, RunningGateway, free_port

KEY, THEIR_KEY = "sk-bench", "sk-upstream"
CHAT = "/v1/chat/completions"
START_SECONDS = 240.0  # LiteLLM takes ten seconds on a quiet machine
# With httptools, uvloop and OpenTelemetry present LiteLLM answers twice as fast as it does as installed.
LITELLM = (
    *("litellm[proxy]==1.106.2", "uvicorn[standard]==0.54.0"),
    *("opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp==1.45.2"),
)
# As in Portkey's own lock: with the newest node-server every stream is answered with status 500.
PORTKEY = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"hono": "4.9.7", "@hono/node-server": "1.13.5"},
}
Ports = Mapping[str, int]


class Absent(Exception):
    """This peer cannot be measured here; says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers. `pid`: the process whose tree is measured; None for the provider itself."""

    name: str
    version: str
    pid: int | None
    places: Mapping[str, Place]
    gateway: RunningGateway | None = None


def direct(ports: Ports) -> Target:
    """The provider, with nothing between."""
    return Target("direct", "", None, {lane: Place(port, CHAT, MODEL) for lane, port in ports.items()})


@contextmanager
def saferouter(ports: Ports, folder: Path, _kept: Path) -> Iterator[Target]:
    """Ours: one worker, and nothing switched off."""
    rows = []
    for lane, port in ports.items():
        url = f"http://127.0.0.1:{port}/v1"
        rows.append(
            f'[[providers]]\nid = "{lane}"\nfamily = "vllm"\nbase_url = "{url}"\ncredential_env = "BENCH_KEY"\n'
        )
        rows.append(f'[[models]]\nid = "{lane}"\nprovider = "{lane}"\nupstream_model = "{MODEL}"\n')
    environ = {"BENCH_KEY": THEIR_KEY, "SAFEROUTER_AUDIT_RATE": "0.05"}  # the default: tests have none
    command = (*on_core(SUBJECT_CORE), str(COMMAND))
    with RunningGateway(folder / "saferouter", config="".join(rows), environ=environ, command=command) as gateway:
        headers = (("Authorization", f"Bearer {gateway.api_key}"),)
        places = {lane: Place(gateway.port, CHAT, lane, headers) for lane in ports}
        yield Target("saferouter", "this tree", gateway.pid, places, gateway)


@contextmanager
def litellm(ports: Ports, folder: Path, kept: Path) -> Iterator[Target]:
    """LiteLLM's proxy without a database, one worker, its fastest parts installed. Raises Absent."""
    home = kept / "litellm"
    _once(home, LITELLM, lambda: _pip_install(home))
    rows = ["model_list:"]
    for lane, port in ports.items():
        rows.append(f"  - model_name: {lane}")
        rows.append("    litellm_params:")
        rows.append(f"      {{model: openai/{MODEL}, api_base: 'http://127.0.0.1:{port}/v1', api_key: {THEIR_KEY}}}")
    rows += ["litellm_settings: {request_timeout: 600}", f"general_settings: {{master_key: {KEY}}}"]
    config, port = folder / "litellm.yaml", free_port()
    config.write_text("\n".join(rows) + "\n")
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    environ |= {"NO_DOCS": "True"}
    places = {lane: Place(port, CHAT, lane, (("Authorization", f"Bearer {KEY}"),)) for lane in ports}
    with _running("litellm", [*command, "--num_workers", "1"], environ, places, folder) as pid:
        yield Target("litellm", LITELLM[0].partition("==")[2], pid, places)


@contextmanager
def portkey(ports: Ports, folder: Path, kept: Path) -> Iterator[Target]:
    """Portkey's gateway, told its provider by the caller's headers. Raises Absent."""
    home, node = kept / "portkey", _program("node")
    _once(home, PORTKEY, lambda: _npm_install(home))
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    port = free_port()
    places = {}
    for lane, theirs in ports.items():
        hosts = (("x-portkey-provider", "openai"), ("x-portkey-custom-host", f"http://127.0.0.1:{theirs}/v1"))
        places[lane] = Place(port, CHAT, MODEL, (("Authorization", f"Bearer {THEIR_KEY}"), *hosts))
    environ = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"}
    command = [node, str(script), f"--port={port}", "--headless"]
    with _running("portkey", command, environ, places, folder) as pid:
        yield Target("portkey", "1.15.2", pid, places)


@contextmanager
def nginx(ports: Ports, folder: Path, _kept: Path) -> Iterator[Target]:
    """One worker that compares a header and passes bytes on. Raises Absent."""
    program, port, home = _program("nginx"), free_port(), folder / "nginx"
    home.mkdir()
    pools = [
        f"upstream {lane} {{ server 127.0.0.1:{theirs}; keepalive 512; keepalive_requests 100000000; }}"
        for lane, theirs in ports.items()
    ]
    pass_on = (
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; '
        f'proxy_set_header Authorization "Bearer {THEIR_KEY}";'
    )
    doors = [
        f"location /{lane}/ {{ if ($known = 0) {{ return 401; }} {pass_on} proxy_pass http://{lane}/; }}"
        for lane in ports
    ]
    temporary = " ".join(
        f"{kind}_temp_path {home / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = home / "nginx.conf"
    config.write_text(
        f"worker_processes 1; daemon off; pid {home / 'pid'}; worker_rlimit_nofile 8192;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; {temporary}\n"
        f'map $http_authorization $known {{ default 0; "Bearer {KEY}" 1; }}\n'
        + "\n".join(pools)
        + f"\nserver {{ listen 127.0.0.1:{port} backlog=4096;\n"
        + "\n".join(doors)
        + "\n} }\n"
    )
    places = {lane: Place(port, f"/{lane}{CHAT}", MODEL, (("Authorization", f"Bearer {KEY}"),)) for lane in ports}
    version = (
        subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr.strip().partition("/")[2]
    )
    with _running("nginx", [program, "-c", str(config), "-e", str(home / "error.log")], {}, places, folder) as pid:
        yield Target("nginx", version, pid, places)


PEERS: Mapping[str, Callable[[Ports, Path, Path], AbstractContextManager[Target]]] = {
    "saferouter": saferouter,
    "litellm": litellm,
    "portkey": portkey,
    "nginx": nginx,
}


def _program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise Absent(f"{name} is not installed on this machine")
    return found


def _once(home: Path, wanted: object, install: Callable[[], None]) -> None:
    """Install into a folder of its own, unless exactly that is there. Raises Absent."""
    stamp, words = home / "installed.json", json.dumps(wanted)
    if stamp.exists() and stamp.read_text() == words:
        return
    print(f"installing {home.name} ...", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    install()
    stamp.write_text(words)


def _pip_install(home: Path) -> None:
    _must([sys.executable, "-m", "venv", str(home)], home)
    _must([str(home / "bin" / "pip"), "--disable-pip-version-check", "--quiet", "install", *LITELLM], home)


def _npm_install(home: Path) -> None:
    (home / "package.json").write_text(json.dumps(PORTKEY))
    _must([_program("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], home)


def _must(command: list[str], home: Path) -> None:
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Absent(f"it cannot be installed here: {' '.join(last)[:200]}")


@contextmanager
def _running(
    name: str, command: list[str], environ: Mapping[str, str], places: Mapping[str, Place], folder: Path
) -> Iterator[int]:
    """A peer on its core, once it answers every lane. Raises Absent."""
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*on_core(SUBJECT_CORE), *command],
            env={**os.environ, **environ},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not all(_answers(places[lane]) for lane in LANES):
            if process.poll() is not None or time.monotonic() > until:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise Absent(f"it does not start here: {' '.join(last)[:200]}")
            time.sleep(0.25)
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _answers(place: Place) -> bool:
    raw = place.request(stream=False)
    head, _, body = raw.partition(b"\r\n\r\n")
    headers = dict(row.split(": ", 1) for row in head.decode().split("\r\n")[1:])
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=30)
    try:
        connection.request("POST", place.path, body, headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
