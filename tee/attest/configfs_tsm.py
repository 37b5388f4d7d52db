"""SEV-SNP reports through configfs-tsm, Linux's one interface to every kind of confidential guest (6.7 and later).

A request is a folder: mkdir makes it and its attributes, every write to one of them counts `generation` up, reading
`outblob` has the firmware sign `inblob`, rmdir ends it. Nothing locks a folder: another process of root may write to
it between our writes and our reads. So each request has a folder of its own, with a name that nobody can guess, and
counts: if `generation` says anything but our own writes, what was read is thrown away.

Under an SVSM the guest runs at a VMPL above 0, and `privlevel_floor` says at which: a plain report then carries that
VMPL and, as ever, our 64 bytes as REPORT_DATA. The kernel's other answer there, a report of the SVSM's services
(attributes `service_provider`, `service_guid`, `manifestblob`), has another REPORT_DATA: SHA-512 of our bytes followed
by the services' manifest. No statement of SPEC §4 binds that and no verifier of ours reads such manifests, so it is
never asked for, and a report that does not carry exactly our bytes at exactly the level that we named is refused.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tee.errors import DeviceDead, Unavailable
from tee.evidence import Evidence
from tee.snp.certtable import MAX_TABLE_SIZE
from tee.snp.collateral import Endorser, device_evidence
from tee.snp.report import REPORT_SIZE

REPORTS_PATH = Path("/sys/kernel/config/tsm/report")
PROVIDER = b"sev_guest"
MAX_PRIVLEVEL = 3
MAX_TRIES = 3  # each may cost the firmware a report; whoever spoils three folders does so on purpose
PAUSE_SECONDS = 0.1
STALE_SECONDS = 3600.0  # the kernel gives up on a busy host after a minute, so no live request is as old
_PREFIX = "saferouter-"
_MAX_ATTRIBUTE = 0x8000  # TSM_OUTBLOB_MAX of the kernel; all other attributes are shorter
_TRY_AGAIN = (errno.EAGAIN, errno.EBUSY, errno.EINTR)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_KEY_IS_GONE = (errno.ENOTTY, errno.EIO, errno.EBADMSG)
_HINTS = {
    errno.EINVAL: ". The firmware or the kernel refuses the request; VMPL and privlevel_floor may not fit this guest",
    errno.EFBIG: ". The kernel passes on no more. If it is auxblob, have the host's operator load a smaller table",
    errno.ENOENT: ". Another process removed the request's folder, or this kernel has no such attribute",
}


class NotOffered(Unavailable):
    """No reports here for this process. Another attester may do; where `denied`, a mock never does."""

    def __init__(self, source: str, reason: str, *, denied: bool = False) -> None:
        self.denied = denied
        super().__init__(source, reason, retryable=False)


class ConfigfsTsm:
    """The interface, one request at a time. A call may block for a minute: run it outside the event loop.

    Linux gives up the guest's message key after a failed request, so that no AES-GCM nonce is used twice. From then
    on this object answers with DeviceDead and leaves the interface alone.
    """

    def __init__(self, path: Path = REPORTS_PATH, privlevel: int | None = None) -> None:
        """Try all but a report, at the VMPL `privlevel`, or the lowest that the guest may name.

        Raises NotOffered, Unavailable, ValueError.
        """
        if privlevel is not None and not 0 <= privlevel <= MAX_PRIVLEVEL:
            raise ValueError(f"privlevel: {privlevel}, wanted 0 to {MAX_PRIVLEVEL}")
        self._path = path
        self._asked_level = privlevel
        self._dead: str | None = None
        self._lock = threading.Lock()
        try:
            self._remove_leftovers()
            with self._request() as folder:
                self._require_provider(folder)
                self._level = self._write_privlevel(folder)
        except OSError as error:
            raise self._failure(error) from None

    @property
    def path(self) -> Path:
        """Where the interface is."""
        return self._path

    @property
    def level(self) -> int:
        """The VMPL of its reports."""
        return self._level

    def get_report(self, report_data: bytes) -> tuple[bytes, bytes]:
        """A report over these 64 bytes and the host's certificate table, untrusted. Raises Unavailable, ValueError."""
        if len(report_data) != 64:
            raise ValueError(f"report_data: {len(report_data)} bytes, wanted 64")
        with self._lock:
            if self._dead is not None:
                raise DeviceDead(str(self._path), self._dead)
            for attempt in range(MAX_TRIES):
                if attempt:
                    time.sleep(PAUSE_SECONDS)
                try:
                    with self._request() as folder:
                        answered = self._ask(folder, report_data)
                except OSError as error:
                    if error.errno not in _TRY_AGAIN:
                        raise self._failure(error) from None
                    why = _words(error)
                else:
                    if answered is not None:
                        return answered
                    why = "generation did not count our two writes alone, so another process of root writes too"
        reason = f"no report in {MAX_TRIES} tries: {why}. Try again in a moment"
        raise Unavailable(str(self._path), reason, retryable=True)

    def _ask(self, folder: Path, report_data: bytes) -> tuple[bytes, bytes] | None:
        """The report and the table; None where `generation` says that somebody else wrote, or that a write was lost."""
        self._require_provider(folder)
        mine = self._number(folder, "generation") + 2  # the two writes that follow
        level = self._write_privlevel(folder)
        self._write(folder, "inblob", report_data)  # the kernel takes it at close, and hides whether it did
        if self._number(folder, "generation") != mine:
            return None
        report, table = self._read_blob(folder, "outblob"), self._read_blob(folder, "auxblob")
        if self._number(folder, "generation") != mine:
            return None
        self._require_answer(report, report_data, level)
        return report, table

    def _require_provider(self, folder: Path) -> None:
        provider = self._read(folder, "provider").removesuffix(b"\n")
        if provider != PROVIDER:
            raise self._unavailable(
                f"its provider is {provider.decode('ascii', 'replace')!r}, wanted {PROVIDER.decode()!r}: this is a "
                "confidential guest of another kind, and this release attests AMD SEV-SNP only"
            )

    def _write_privlevel(self, folder: Path) -> int:
        """The level that was written: by itself the kernel asks for VMPL 0, which is refused under an SVSM."""
        floor = self._number(folder, "privlevel_floor")
        level = floor if self._asked_level is None else self._asked_level
        if not floor <= level <= MAX_PRIVLEVEL:
            raise self._unavailable(
                f"this guest may name VMPL {floor} to {MAX_PRIVLEVEL}, wanted VMPL {level}: an SVSM keeps the others"
            )
        self._write(folder, "privlevel", b"%d" % level)
        return level

    def _require_answer(self, report: bytes, report_data: bytes, level: int) -> None:
        if len(report) != REPORT_SIZE:
            raise self._unavailable(
                f"answered with a report of {len(report)} bytes, wanted {REPORT_SIZE}: this firmware's reports are not "
                "known to this release. Update SafeRouter"
            )
        if report[0x50:0x90] != report_data:  # an old report, somebody else's, or one of an SVSM's services
            raise self._unavailable(
                "answered with a report over other report data than was asked for. Trust nothing that this machine "
                "attests until you know what stands between the guest and its firmware"
            )
        vmpl = int.from_bytes(report[0x30:0x34], "little")
        if vmpl != level:
            raise self._unavailable(f"answered with a report of VMPL {vmpl}, wanted VMPL {level}")

    @contextmanager
    def _request(self) -> Iterator[Path]:
        """A new folder, which is removed whatever happens."""
        folder = self._path / (_PREFIX + secrets.token_hex(8))
        folder.mkdir()
        try:
            yield folder
        except BaseException:
            with suppress(OSError):  # the first failure is the one to tell; a later start removes what stays
                _remove(folder)
            raise
        _remove(folder)

    def _remove_leftovers(self) -> None:
        """Folders of processes of ours that were killed: they hold kernel memory until somebody removes them."""
        newest = time.time() - STALE_SECONDS
        with os.scandir(self._path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # its process lives, and has just removed it
                    if entry.name.startswith(_PREFIX) and entry.stat(follow_symlinks=False).st_mtime < newest:
                        _remove(Path(entry.path))

    def _number(self, folder: Path, name: str) -> int:
        raw = self._read(folder, name).removesuffix(b"\n")
        if not raw.isdigit() or len(raw) > 20:  # 64 bits
            raise self._unavailable(f"{name} is {raw[:32].decode('ascii', 'replace')!r}, wanted a number")
        return int(raw)

    def _read_blob(self, folder: Path, name: str) -> bytes:
        """The attributes behind which the firmware stands: a failure here may end the device's life."""
        try:
            return self._read(folder, name)
        except OSError as error:
            if error.errno in _KEY_IS_GONE:
                self._dead = (
                    f"{_words(error)}: Linux disables the guest's message key after a failed request (see `dmesg`). "
                    "Nothing can be attested until the guest is rebooted. If that does not help, have the host's "
                    f"operator load a certificate table of at most {MAX_TABLE_SIZE} bytes"
                )
                raise DeviceDead(str(self._path), self._dead) from None
            raise

    def _read(self, folder: Path, name: str) -> bytes:
        path, raw = folder / name, b""
        with _open(path, os.O_RDONLY) as handle:
            while chunk := os.read(handle, _MAX_ATTRIBUTE + 1):
                raw += chunk
                if len(raw) > _MAX_ATTRIBUTE:
                    raise self._unavailable(f"{name} holds more than {_MAX_ATTRIBUTE} bytes, which no kernel allows")
        return raw

    def _write(self, folder: Path, name: str, value: bytes) -> None:
        """In one piece, as configfs wants it."""
        with _open(folder / name, os.O_WRONLY) as handle:
            taken = os.write(handle, value)
        if taken != len(value):
            raise self._unavailable(
                f"{name} took {taken} bytes, wanted {len(value)}: this is not the kernel's configfs"
            )

    def _failure(self, error: OSError) -> Unavailable:
        """What an error of the kernel means that is neither worth another try nor the end."""
        source, words, place = str(self._path), _words(error), Path(error.filename)
        if place == self._path and error.errno in (errno.ENOENT, errno.ENOTDIR):
            return NotOffered(source, "does not exist: Linux is older than 6.7, or no configfs is mounted")
        # Inside a folder the same two are errors of a kernel that does offer reports.
        if place.parent == self._path and error.errno in (errno.ENXIO, errno.ENODEV):
            return NotOffered(source, f"{words}: the kernel has no provider of reports")
        if error.errno in _DENIED:
            return NotOffered(
                source,
                f"{words}. Linux lets only root use it: run the gateway as root, or give its service CAP_DAC_OVERRIDE "
                "(and, in a container, a configfs mounted for writing), or let its group open /dev/sev-guest",
                denied=True,
            )
        if error.errno == errno.ETIMEDOUT:
            # Some kernels give up the message key here too: then the next call learns it by ENOTTY.
            reason = f"{words}: the host is too busy for this guest's requests. Try again in a minute"
            return Unavailable(source, reason, retryable=True)
        return self._unavailable(words + _HINTS.get(error.errno or 0, ""))

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(str(self._path), reason, retryable=False)


class ConfigfsTsmAttester:
    """An Attester on configfs-tsm. Certificates come from the host's table, and what it lacks from `endorse`."""

    tee_type = "sev_snp"

    def __init__(self, reports: ConfigfsTsm, endorse: Endorser) -> None:
        self._reports = reports
        self._endorse = endorse

    def attest(self, report_data: bytes) -> Evidence:
        """A report over these 64 bytes, with its endorsements. Raises Unavailable, ValueError."""
        raw, table = self._reports.get_report(report_data)
        return device_evidence(raw, table, self._endorse, str(self._reports.path))


@contextmanager
def _open(path: Path, flags: int) -> Iterator[int]:
    """An attribute, unbuffered; an error names it."""
    try:
        handle = os.open(path, flags | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)
    except OSError as error:
        error.filename = str(path)
        raise


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):  # somebody else did
        folder.rmdir()


def _words(error: OSError) -> str:
    """For a person: the attribute or folder, and the error with its name."""
    name, code = Path(error.filename).name, errno.errorcode.get(error.errno or 0, str(error.errno))
    place = "a request's folder" if name.startswith(_PREFIX) else name
    return f"{place}: {os.strerror(error.errno or 0)} ({code})"
