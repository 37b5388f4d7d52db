"""AMD's key server over a real socket, under the mock root: mints a certificate per request, lies as it is told."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tee.snp.product import PRODUCTS, Pin, Product
from tests.vectors import der
from tests.vectors.certificates import ARK, ASK, DAY, RevocationList, vek, vek_values, vlek_values
from tests.vectors.signing import RSA, ec_key, ec_spki

PARTS = {"fmcSPL": "fmc", "blSPL": "bootloader", "teeSPL": "tee", "snpSPL": "snp", "ucodeSPL": "microcode"}
HWID_SIZES = {"Milan": 64, "Genoa": 64, "Turin": 8}
HOLD_SECONDS = 20.0


def _pin(common_name: str, raw: bytes, spki: bytes) -> Pin:
    return Pin(common_name, hashlib.sha256(raw).hexdigest(), hashlib.sha256(spki).hexdigest())


def mock_products() -> dict[str, Product]:
    """AMD's products under the mock root. A caller in Python may bring these; no configuration can."""
    ark = _pin("SAFEROUTER-MOCK-ARK", ARK.der(), ARK.spki)
    ask = _pin("SAFEROUTER-MOCK-ASK", ASK.der(), ASK.spki)
    return {name: replace(product, ark=ark, ask=ask, asvk=ask) for name, product in PRODUCTS.items()}


@dataclass
class KeyServer:
    """`lies` maps a part of a path to how its answers are wrong; `files` replaces minting by fixed answers."""

    url: str = ""
    lies: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] | None = None
    requests: list[str] = field(default_factory=list)
    crl_age: dt.timedelta = DAY  # since thisUpdate
    crl_life: dt.timedelta = 365 * DAY
    revoked: tuple[int, ...] = ()
    released: threading.Event = field(default_factory=threading.Event)
    minted: Iterator[int] = field(default_factory=itertools.count)

    def lie_about(self, path: str) -> str:
        """How to answer for `path`; nothing for the truth."""
        return next((lie for part, lie in self.lies.items() if part in path), "")

    def asked(self, part: str) -> int:
        """How often something with `part` in its path was asked for."""
        return sum(part in path for path in self.requests)

    def answer(self, path: str, lie: str) -> bytes | None:
        """The body for a path below the URL; None where AMD says 404."""
        if self.files is not None:
            return self.files.get(path)
        parts = urlsplit(path)
        match parts.path.strip("/").split("/"):
            case ["vcek" | "vlek", "v1", product, "cert_chain"] if product in PRODUCTS:
                return self._chain(lie)
            case ["vcek" | "vlek", "v1", product, "crl"] if product in PRODUCTS:
                return self._crl(lie)
            case ["vcek", "v1", product, hwid] if len(hwid) == 2 * HWID_SIZES.get(product, 0):
                return self._vcek(product, bytes.fromhex(hwid), dict(parse_qsl(parts.query)), lie)
        return None  # also a Turin chip by all of its 64 bytes, and every VLEK

    def _chain(self, lie: str) -> bytes:
        ask = ASK.der()
        if lie == "swapped":
            ask = replace(ASK, serial=der.integer(3)).der()  # signed by the ARK, and not the one that is pinned
        return pem(ask) + pem(ARK.der())

    def _crl(self, lie: str) -> bytes:
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        issued = now - self.crl_age
        crl = RevocationList(revoked=self.revoked, this_update=issued, next_update=issued + self.crl_life)
        if lie == "expired":
            crl = replace(crl, this_update=now - 3 * DAY, next_update=now - DAY)
        if lie == "other-signer":
            crl = replace(crl, signer=RSA["ask"].sign)
        return crl.der()

    def _vcek(self, product: str, hwid: bytes, spls: dict[str, str], lie: str) -> bytes:
        versions = {PARTS[name]: int(value) for name, value in spls.items()}
        if lie == "wrong-tcb":
            versions["microcode"] += 1
        if lie == "wrong-product":
            product = {"Milan": "Genoa", "Genoa": "Milan"}[product]
        values = vek_values(product, **versions)
        if lie == "vlek":
            return vek(vlek_values(product), "SEV-VLEK").der()
        values["4"] = hwid if lie != "wrong-chip" else bytes(len(hwid) - 1) + b"\x01"
        # A fresh certificate over the same key each time.
        issued = dt.datetime.now(dt.UTC) - dt.timedelta(hours=23, minutes=next(self.minted))
        certificate = replace(vek(values), not_before=der.utc_time(issued), not_after=der.utc_time(issued + 2555 * DAY))
        if lie == "other-key":
            certificate = replace(certificate, spki=ec_spki(ec_key("another chip")))
        if lie == "other-signer":
            certificate = replace(certificate, signer=RSA["ark"].sign)
        return pem(certificate.der()) if lie == "pem" else certificate.der()


def pem(raw: bytes) -> bytes:
    """One certificate as text."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(raw) + b"-----END CERTIFICATE-----\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    world: KeyServer


class _Answer(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        world = self.server.world
        world.requests.append(self.path)
        lie = world.lie_about(self.path)
        with suppress(ConnectionError):
            self._play(world, lie)

    def _play(self, world: KeyServer, lie: str) -> None:
        word, _, detail = lie.partition(":")
        if word == "silent":
            world.released.wait(HOLD_SECONDS)
        elif word == "trickle":  # headers, a few bytes at a time, without end
            while not world.released.wait(0.05):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nx: y" if not detail else b"y")
                detail = "more"
        elif word.isdigit():
            headers = {"Retry-After": _retry_after(detail)} if detail else {}
            self._send(int(word), b"", headers | ({"Location": "http://127.0.0.1:9/"} if word == "302" else {}))
        elif word == "page":
            self._send(200, b"<html>Please log in</html>", {})
        elif word == "oversized":
            self._send(200, b"\x30" + bytes(1 << 20), {})
        else:
            self._send_answer(world.answer(self.path, lie), word)

    def _send_answer(self, body: bytes | None, word: str) -> None:
        if body is None:
            self._send(404, b"", {})
        elif word == "truncated":  # ends before its Content-Length
            self._send(200, body[:-7], {}, size=len(body))
        elif word == "short":  # whole for HTTP, and not for DER
            self._send(200, body[:-7], {})
        else:
            self._send(200, body * 2 if word == "twice" else body, {})

    def _send(self, status: int, body: bytes, headers: dict[str, str], size: int | None = None) -> None:
        """As AMD answers: not cacheable, and no word about other origins."""
        self.send_response(status)
        fixed = {"Content-Type": "application/octet-stream", "Cache-Control": "no-cache"}
        for name, value in (fixed | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


def _retry_after(detail: str) -> str:
    if not detail.startswith("date+"):
        return detail
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=int(detail[5:]))
    return format_datetime(moment, usegmt=True)


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """A key server until the end of the block."""
    world = KeyServer()
    server = _Server(("127.0.0.1", 0), _Answer)
    server.world = world
    world.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield world
    finally:
        world.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
