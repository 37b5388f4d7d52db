"""The operator as an adversary: a reverse proxy that tells one lie in the JSON that it passes on."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.worlds.gateway import RunningGateway

Lie = Callable[[dict[str, Any]], dict[str, Any]]


def honest(document: dict[str, Any]) -> dict[str, Any]:
    """No lie."""
    return document


@dataclass
class LyingProxy:
    """Stands where the public origin is. `lie` changes each JSON document under `lies_at`, all else passes as it is."""

    origin: str
    gateway_port: int = 0
    lie: Lie = honest
    lies_at: str = "/attestation/quote"
    spoils: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)  # other answers' bytes, by start of path
    hides: str = ""  # 404 for every path that ends so
    asked: list[str] = field(default_factory=list)  # every path
    told: list[dict[str, Any]] = field(default_factory=list)  # the documents as the gateway made them


def _handler(proxy: LyingProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            proxy.asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            connection = http.client.HTTPConnection("127.0.0.1", proxy.gateway_port, timeout=30)
            try:
                kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                connection.request(self.command, self.path, body, kept)
                response = connection.getresponse()
                answer = response.read()
            finally:
                connection.close()
            if response.status == 200 and self.path.startswith(proxy.lies_at):
                truth = json.loads(answer)
                proxy.told.append(truth)
                answer = json.dumps(proxy.lie(json.loads(answer))).encode()
            for start, spoil in proxy.spoils.items():
                answer = spoil(answer) if self.path.startswith(start) else answer
            hidden = bool(proxy.hides) and self.path.endswith(proxy.hides)
            self.send_response(404 if hidden else response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = do_DELETE = do_OPTIONS = _pass  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print nothing."""

    return Handler


@contextmanager
def lying_proxy() -> Iterator[LyingProxy]:
    """A LyingProxy at its own origin; give it the port of a gateway."""
    proxy = LyingProxy("")
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy)) as server:
        proxy.origin = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def gateway_behind(operator: LyingProxy, state: Path, chip: Path) -> Iterator[RunningGateway]:
    """A gateway with the mock provider whose attested audience is the operator's origin."""
    config = f"""
        audience = "{operator.origin}"
        providers = [{{id = "mock", family = "mock"}}]
        models = [{{id = "mock-1", provider = "mock"}}]
    """
    with RunningGateway(state, config=config, chip=chip) as running:
        operator.gateway_port = running.port
        yield running
