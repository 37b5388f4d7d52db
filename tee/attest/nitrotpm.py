"""NitroTPM's attester: AWS's own tool, asked for one document at a time (SPEC §11)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tee.attest.attester import PlatformAttester
from tee.errors import Unavailable
from tee.nitro.document import MAX_DOCUMENT_SIZE

TOOL = "nitro-tpm-attest"  # of the package aws-nitro-tpm-tools
TIMEOUT_SECONDS = 30.0  # a TPM answers within seconds


def detect_nitrotpm() -> tuple[PlatformAttester, str]:
    """The attester, and where its tool is. Raises Unavailable where there is none."""
    found = shutil.which(TOOL)
    if found is None:
        reason = "not installed: the image needs aws-nitro-tpm-tools, or the configuration no platform_evidence"
        raise Unavailable(TOOL, reason, retryable=False)
    return partial(fetch_document, Path(found)), found


def detect_key_attester() -> Callable[[bytes], bytes] | None:
    """What makes documents that carry a public key (DER), for a key service; None where the tool is not installed."""
    found = shutil.which(TOOL)
    return None if found is None else partial(fetch_key_document, Path(found))


def fetch_document(tool: Path, user_data: bytes, nonce: bytes | None, *, seconds: float = TIMEOUT_SECONDS) -> bytes:
    """A document over this user data and nonce. Raises Unavailable."""
    return _fetch(tool, {"user-data": user_data} | ({} if nonce is None else {"nonce": nonce}), seconds)


def fetch_key_document(tool: Path, public_key: bytes, *, seconds: float = TIMEOUT_SECONDS) -> bytes:
    """A document that carries this public key, a DER SubjectPublicKeyInfo. Raises Unavailable."""
    return _fetch(tool, {"public-key": public_key}, seconds)


def _fetch(tool: Path, options: dict[str, bytes], seconds: float) -> bytes:
    """What the tool prints, given these options.

    It reads files and prints to another one, all in a folder of this user only; it sees no environment, which can
    hold credentials.
    """
    with tempfile.TemporaryDirectory(prefix="nitrotpm-") as name:
        folder = Path(name)
        arguments = [str(tool)]
        for option, value in options.items():
            arguments += [f"--{option}", _write(folder / option, value)]
        output, errors = folder / "document", folder / "errors"
        with output.open("wb") as stdout, errors.open("wb") as stderr:
            code = _run(arguments, stdout.fileno(), stderr.fileno(), seconds)
        if code != 0:
            raise Unavailable(TOOL, f"ended with {code}: {_first_line(errors)}", retryable=True)
        size = output.stat().st_size
        if not 0 < size <= MAX_DOCUMENT_SIZE:
            raise Unavailable(TOOL, f"printed {size} bytes, wanted 1 to {MAX_DOCUMENT_SIZE}", retryable=False)
        return output.read_bytes()


def _run(arguments: list[str], stdout: int, stderr: int, seconds: float) -> int:
    try:
        return subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={},
            timeout=seconds,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise Unavailable(TOOL, f"no answer within {seconds:g} s", retryable=True) from None
    except OSError as error:
        raise Unavailable(TOOL, error.strerror or "cannot be run", retryable=False) from None


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        line = file.readline(200).decode("ascii", "replace").strip()
    return line if line.isprintable() and line else "no reason given"
