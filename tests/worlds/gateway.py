"""A real `saferouter serve` in a process of its own, its state in a folder of its own."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from tee.canonical import digest_bytes
from tee.evidence import Verdict
from tee.log.receipt import Receipt, parse_receipt
from tee.log.stream import checkpoint_of
from tee.policy import parse_policy
from tee.verify import verify_answer, verify_quote

COMMAND = Path(sys.executable).with_name("saferouter")
START_SECONDS = 60.0  # a first start makes two RSA-4096 keys, and workers load on a machine that may be busy
RECEIPT_SECONDS = 10.0
PLAIN: Any = {"trust_env": False, "verify": False}  # no TLS here, and reading the CA bundle is slow


class RunningGateway:
    """A gateway on a free port. Stopped by SIGINT at the end; a restart keeps state and port."""

    def __init__(
        self,
        state: Path,
        *,
        config: str | None = None,
        chip: Path | None = None,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = (str(COMMAND),),
    ) -> None:
        self.state, self.port = state, free_port()
        self._command = command
        self.log = state.with_name(state.name + ".log")
        # Tests count leaves: which calls are sampled must not be left to chance.
        chosen = {"SAFEROUTER_AUDIT_RATE": "0", **(environ or {})}
        self._environ = {**os.environ, **chosen, "SAFEROUTER_STATE": str(state), "PORT": str(self.port)}
        self._options: list[str] = []
        self.metrics_token: str | None = None  # what is configured, if /metrics wants one
        self._process: subprocess.Popen[bytes] | None = None
        if chip is not None:
            state.mkdir(mode=0o700)
            shutil.copy(chip, state / "mock-chip.bin")
        if config is not None:
            path = state.with_name(state.name + ".toml")
            path.write_text(config)
            self._options = ["--config", str(path)]

    def __enter__(self) -> RunningGateway:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it if it runs."""
        if self._process is not None:
            self.stop()

    @property
    def environ(self) -> Mapping[str, str]:
        """Under which it runs, and commands about it."""
        return self._environ

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def demo(self) -> dict[str, Any]:
        """demo.json: what its owner is told to try."""
        facts: dict[str, Any] = json.loads((self.state / "demo.json").read_text())
        return facts

    @property
    def api_key(self) -> str:
        """The demo key."""
        return str(self.demo["api_key"])

    @property
    def policy(self) -> Path:
        """The policy that accepts this very build."""
        return self.state / "demo-policy.toml"

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start, and wait for nothing."""
        with self.log.open("ab") as log:
            command = [*self._command, "serve", "--insecure-mock", "--demo", *self._options]
            self._process = subprocess.Popen(
                command, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Wait until it is ready."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the gateway did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> tuple[int, float]:
        """SIGINT; the exit code, and the seconds until the process was gone."""
        return self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL: no farewell."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop, and start again on the same state and port."""
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> tuple[int, float]:
        assert self._process is not None
        process, self._process = self._process, None
        began = time.monotonic()
        process.send_signal(number)
        try:
            code = process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return code, time.monotonic() - began

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", **PLAIN).status_code == 200
        except httpx2.HTTPError:
            return False

    def memory(self) -> int:
        """Resident bytes of the process, without files that are merely mapped."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def client(self, api_key: str | None = None) -> httpx2.Client:
        """A plain HTTP client with a key."""
        headers = {"authorization": f"Bearer {api_key or self.api_key}", "content-type": "application/json"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30.0, **PLAIN)

    def post(self, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> Answered:
        """One call; the answer with the exact bytes of both bodies."""
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        with (
            self.client() as client,
            client.stream("POST", path, content=body, headers=extra) as response,
        ):
            raw = b"".join(response.iter_raw())
        return Answered(body, response.status_code, dict(response.headers), raw)

    def ask(self, said: str, model: str = "mock-1", **fields: Any) -> Answered:
        """One question, buffered unless `stream=True`."""
        return self.post(chat_body(said, model, **fields))

    def fetch_receipt(self, receipt_id: str, api_key: str | None = None) -> bytes:
        """The receipt, waiting until the call is closed."""
        deadline = time.monotonic() + RECEIPT_SECONDS
        with self.client(api_key) as client:
            while (response := client.get(f"/v1/aci/receipts/{receipt_id}")).status_code != 200:
                assert response.status_code == 404, response.text
                assert time.monotonic() < deadline, f"no receipt {receipt_id}"
                time.sleep(0.05)
        return response.content

    def keyset_evidence(self, keyset_digest: str) -> dict[str, Any]:
        """The evidence of a keyset that signed receipts here, live or past."""
        quote: dict[str, Any] = httpx2.get(f"{self.url}/attestation/keysets/{keyset_digest}", **PLAIN).json()
        return quote

    def judge(
        self, raw: bytes, request: bytes | None = None, response: bytes | None = None, headers: bytes | None = None
    ) -> Verdict:
        """What `tee` says of a receipt, under the evidence of the keysets that it names, at its own time."""
        receipt = parse_receipt(raw)
        verdict, quote = self._judged_keyset(receipt.keyset_digest, receipt.served_at)
        checkpoint, earlier = checkpoint_of(receipt), None
        if checkpoint is not None and checkpoint.keyset_digest != receipt.keyset_digest:
            earlier = self._judged_keyset(checkpoint.keyset_digest, checkpoint.time)
        return verify_answer(verdict, quote, raw, request, response, earlier=earlier, headers=headers)

    def _judged_keyset(self, digest: str, at: int) -> tuple[Verdict, dict[str, Any]]:
        quote = self.keyset_evidence(digest)
        verdict = verify_quote(
            quote,
            now=dt.datetime.fromtimestamp(at, dt.UTC),
            policy=parse_policy(self.policy.read_bytes()),
            nonce=None,
            audience=self.url,
            accept_mock=True,
        )
        return verdict, quote

    def verified(self, answered: Answered, *, complete: bool = True) -> Receipt:
        """The receipt of an answer, whose every check but that of completeness must pass."""
        raw = self.fetch_receipt(answered.receipt_id)
        verdict = self.judge(raw, answered.request, answered.raw)
        assert verdict.failures() == (() if complete else ("receipt.complete",)), verdict.sentence()
        assert not verdict.missing(), verdict.missing()
        return parse_receipt(raw)


class Answered:
    """One exchange as its client saw it: bytes, not interpretations."""

    def __init__(self, request: bytes, status: int, headers: dict[str, str], raw: bytes) -> None:
        self.request, self.status, self.headers, self.raw = request, status, headers, raw

    @property
    def receipt_id(self) -> str:
        """X-Receipt-Id."""
        return self.headers["x-receipt-id"]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)

    @property
    def digest(self) -> str:
        """`sha256:` of the body."""
        return digest_bytes(self.raw)


def chat_body(said: str, model: str = "mock-1", **fields: Any) -> bytes:
    """A chat request."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": said}], **fields}).encode()


def responses_body(said: str, model: str = "mock-1", **fields: Any) -> bytes:
    """A request of /v1/responses, which always says what was used."""
    fields.pop("stream_options", None)
    return json.dumps({"model": model, "input": said, **fields}).encode()


def free_port() -> int:
    """A port of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def run_cli(*arguments: str | Path, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `saferouter` as a person would, without a terminal."""
    command = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(environ or {})}
    )
