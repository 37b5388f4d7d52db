"""An S3 over a real socket: one bucket, conditional writes, signatures held against botocore's, and faults."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.worlds.kms import ACCESS_KEY, SECRET_KEY, Quiet

BUCKET, REGION = "the-log", "eu-test-1"
Fault = Callable[[str, str], "tuple[int, bytes] | None"]


@dataclass
class ObjectWorld:
    """Its objects by key. `fault` is asked first, with method and key: None lets the request through."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    fault: Fault = lambda method, key: None
    delay: float = 0.0
    unsigned_reads: bool = False

    def answer(self, method: str, key: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """What S3 does with a request whose signature held."""
        if method == "GET":
            return (200, self.objects[key]) if key in self.objects else (404, b"<Error/>")
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, b""
        if headers.get("if-none-match") == "*" and key in self.objects:
            return 412, b"<Error/>"
        self.objects[key] = body
        return 200, b""

    def signed(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bool:
        """Whether the signature is the one that botocore makes, and covers every header that counts."""
        sent = headers.get("authorization", "")
        names = sent.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        if not {"host", "x-amz-date", "x-amz-content-sha256"} | ({"if-none-match"} & headers.keys()) <= set(names):
            return False
        if headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return False
        request = AWSRequest(method, self.url + path, {name: headers[name] for name in names}, body)
        request.context["timestamp"] = headers["x-amz-date"]
        auth = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        return sent.endswith(f"Signature={auth.signature(text, request)}")


def _handler(world: ObjectWorld) -> type[BaseHTTPRequestHandler]:
    class Handler(Quiet):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            key = self.path.removeprefix(f"/{BUCKET}/")
            world.asked.append((self.command, key))
            time.sleep(world.delay)
            answer = world.fault(self.command, key)
            if answer is None and not world.signed(self.command, self.path, body, headers):
                open_read = world.unsigned_reads and self.command == "GET" and "authorization" not in headers
                answer = None if open_read else (403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            if answer is None:
                answer = world.answer(self.command, key, body, headers)
            self.reply(*answer)

        do_GET = do_PUT = do_DELETE = _serve  # noqa: N815

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is part of the game."""


@contextmanager
def object_world(port: int = 0) -> Iterator[ObjectWorld]:
    """An ObjectWorld at this port, or a free one."""
    world = ObjectWorld()
    with _Server(("127.0.0.1", port), _handler(world)) as server:
        world.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield world
        finally:
            server.shutdown()
            thread.join()
