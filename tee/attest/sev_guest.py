"""The SEV-SNP guest device of Linux, /dev/sev-guest: reports, the host's certificates, derived keys."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from pathlib import Path

from tee.errors import DeviceDead, Unavailable
from tee.evidence import Evidence
from tee.snp.certtable import MAX_TABLE_SIZE
from tee.snp.collateral import Endorser, device_evidence
from tee.snp.report import REPORT_SIZE

DEVICE_PATH = Path("/dev/sev-guest")
PAGE_SIZE = 4096  # of x86-64: the kernel takes certificate buffers in these units
MESSAGE_VERSION = 1  # version 2 of a key request is 8 bytes longer than the kernel's struct
VMM_INVALID_LEN = 1
VMM_BUSY = 2
MAX_VMPL = 3
_KEY_FIELDS = 0x3F  # GUEST_FIELD_SELECT bits of message version 1; bit 6 needs version 2
_STATUS_WORDS = {0x16: "invalid parameter", 0x27: "the key that was selected is not available"}


class GuestRequest(ctypes.Structure):
    """`snp_guest_request_ioctl`, 32 bytes: what the ioctl takes."""

    _fields_ = (
        ("msg_version", ctypes.c_uint8),
        ("req_data", ctypes.c_uint64),
        ("resp_data", ctypes.c_uint64),
        ("fw_error", ctypes.c_uint32),  # exitinfo2, low half
        ("vmm_error", ctypes.c_uint32),  # exitinfo2, high half
    )


class ReportRequest(ctypes.Structure):
    """`snp_report_req`, 96 bytes. The reserved bytes stay zero: the first four would select a key."""

    _fields_ = (
        ("user_data", ctypes.c_uint8 * 64),
        ("vmpl", ctypes.c_uint32),
        ("rsvd", ctypes.c_uint8 * 28),
    )


class ExtendedReportRequest(ctypes.Structure):
    """`snp_ext_report_req`, 112 bytes."""

    _fields_ = (
        ("data", ReportRequest),
        ("certs_address", ctypes.c_uint64),
        ("certs_len", ctypes.c_uint32),
    )


class ReportResponse(ctypes.Structure):
    """`snp_report_resp`, 4000 bytes, laid out as the firmware's MSG_REPORT_RSP."""

    _fields_ = (
        ("status", ctypes.c_uint32),
        ("report_size", ctypes.c_uint32),
        ("rsvd", ctypes.c_uint8 * 24),
        ("report", ctypes.c_uint8 * REPORT_SIZE),
        ("unused", ctypes.c_uint8 * (4000 - 32 - REPORT_SIZE)),
    )


class DerivedKeyRequest(ctypes.Structure):
    """`snp_derived_key_req`, 32 bytes."""

    _fields_ = (
        ("root_key_select", ctypes.c_uint32),
        ("rsvd", ctypes.c_uint32),
        ("guest_field_select", ctypes.c_uint64),
        ("vmpl", ctypes.c_uint32),
        ("guest_svn", ctypes.c_uint32),
        ("tcb_version", ctypes.c_uint64),
    )


class DerivedKeyResponse(ctypes.Structure):
    """`snp_derived_key_resp`, 64 bytes, laid out as the firmware's MSG_KEY_RSP."""

    _fields_ = (
        ("status", ctypes.c_uint32),
        ("rsvd", ctypes.c_uint8 * 28),
        ("key", ctypes.c_uint8 * 32),
    )


def _request_code(number: int) -> int:
    """`_IOWR('S', number, struct snp_guest_request_ioctl)`."""
    return 3 << 30 | ctypes.sizeof(GuestRequest) << 16 | ord("S") << 8 | number


# Not fcntl.ioctl: with a large buffer it keeps Python's lock, so one call that blocks would stop every thread, and of
# a small one that fails it may not bring back the error codes.
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)

GET_REPORT, GET_DERIVED_KEY, GET_EXT_REPORT = (_request_code(number) for number in range(3))


class SevGuestDevice:
    """The device, one request at a time. A call may block for a minute: run it outside the event loop.

    Linux gives up the guest's message key after any failure but two, so that no AES-GCM nonce is used twice.
    From then on this object answers with DeviceDead and leaves the device alone.
    """

    def __init__(self, path: Path = DEVICE_PATH, table_size: int = MAX_TABLE_SIZE) -> None:
        """Open the device; `table_size` is the first buffer for certificates. Raises Unavailable, ValueError."""
        if not PAGE_SIZE <= table_size <= MAX_TABLE_SIZE or table_size % PAGE_SIZE:
            raise ValueError(f"table_size: {table_size}, wanted whole pages up to {MAX_TABLE_SIZE}")
        self._path = path
        self._table_size = table_size
        self._dead: str | None = None
        self._lock = threading.Lock()
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # the driver asks for no right to write
        except OSError as error:
            hint = ""
            if error.errno in (errno.EACCES, errno.EPERM):
                hint = '. Give it to the service\'s group by a udev rule: KERNEL=="sev-guest", GROUP="…", MODE="0640"'
            reason = f"cannot be opened: {os.strerror(error.errno or 0)}{hint}"
            raise Unavailable(str(path), reason, retryable=False) from None

    @property
    def path(self) -> Path:
        """Where the device is."""
        return self._path

    def get_report(self, report_data: bytes, *, vmpl: int = 0) -> bytes:
        """A report (1184 bytes) over these 64 bytes. Raises Unavailable, ValueError."""
        request, response = _report_request(report_data, vmpl), ReportResponse()
        with self._lock:
            self._issue(GET_REPORT, request, response)
        return self._report_of(response, report_data, vmpl)

    def get_ext_report(self, report_data: bytes, *, vmpl: int = 0) -> tuple[bytes, bytes]:
        """A report over these 64 bytes and the host's certificate table, untrusted. Raises Unavailable, ValueError."""
        data = _report_request(report_data, vmpl)
        with self._lock:
            answered = self._issue_extended(data)
            if answered is None:  # once, with the size that the host named
                answered = self._issue_extended(data)
            if answered is None:
                raise self._unavailable(
                    f"the host refuses a buffer of {self._table_size} bytes for its certificate table, the size that "
                    "it asked for itself. Have the host's operator load the table again"
                )
        response, table = answered
        return self._report_of(response, report_data, vmpl), table

    def get_derived_key(
        self, root_key_select: int, guest_field_select: int, vmpl: int, guest_svn: int, tcb_version: int
    ) -> bytes:
        """32 secret bytes that the firmware derives from these values (MSG_KEY_REQ). Raises Unavailable, ValueError.

        On a fleet that shares its VLEK, other guests can derive the same key: never the only protection of anything.
        """
        _require_range("root_key_select", root_key_select, 0b101)  # KEY_SEL 3 is reserved
        _require_range("guest_field_select", guest_field_select, _KEY_FIELDS)
        _require_range("vmpl", vmpl, MAX_VMPL)
        _require_range("guest_svn", guest_svn, 2**32 - 1)
        _require_range("tcb_version", tcb_version, 2**64 - 1)
        request = DerivedKeyRequest(root_key_select, 0, guest_field_select, vmpl, guest_svn, tcb_version)
        response = DerivedKeyResponse()
        with self._lock:
            self._issue(GET_DERIVED_KEY, request, response)
        hint = "vmpl, guest_svn or tcb_version may be beyond what this guest was launched with"
        self._require_status(response.status, "a key", hint)
        key = bytes(response.key)
        ctypes.memset(ctypes.addressof(response), 0, ctypes.sizeof(response))
        if not any(key):  # firmware answers so when it refuses; as a key it would be everybody's
            raise self._unavailable(f"answered with a derived key of zeros, which is no key: {hint}")
        return key

    def _issue_extended(self, data: ReportRequest) -> tuple[ReportResponse, bytes] | None:
        """The response and the table; None where the host named a larger table, whose size is then remembered."""
        table = mmap.mmap(-1, self._table_size)  # anonymous: zeroed, and it starts at a page
        first = ctypes.c_uint8.from_buffer(table)
        request = ExtendedReportRequest(data, ctypes.addressof(first), self._table_size)
        response = ReportResponse()
        if self._issue(GET_EXT_REPORT, request, response):
            return response, bytes(table)
        wanted = request.certs_len
        if not 0 < wanted <= MAX_TABLE_SIZE or wanted % PAGE_SIZE:
            raise self._unavailable(
                f"the host says that its certificate table needs {wanted} bytes: whole pages of {PAGE_SIZE} up to "
                f"{MAX_TABLE_SIZE} are possible. Have the host's operator load a smaller table"
            )
        self._table_size = wanted
        return None

    def _issue(self, code: int, request: ctypes.Structure, response: ctypes.Structure) -> bool:
        """One ioctl, under the lock. False where the buffer for certificates is too small. Raises Unavailable."""
        if self._dead is not None:
            raise DeviceDead(str(self._path), self._dead)
        envelope = GuestRequest(MESSAGE_VERSION)
        envelope.req_data = ctypes.addressof(request)  # the caller's variables keep both alive
        envelope.resp_data = ctypes.addressof(response)
        if _LIBC.ioctl(self._fd, code, ctypes.byref(envelope)) >= 0:
            return True
        number = ctypes.get_errno()
        if number == errno.EIO and envelope.vmm_error == VMM_INVALID_LEN and code == GET_EXT_REPORT:
            return False
        raise self._failure(number, envelope.fw_error, envelope.vmm_error)

    def _failure(self, number: int, fw_error: int, vmm_error: int) -> Unavailable:
        """What a failed ioctl means. All but throttling ends the device's life."""
        name = errno.errorcode.get(number, str(number))
        if vmm_error == VMM_BUSY or number == errno.ETIMEDOUT:
            # Some kernels give up the message key here too: then the next call learns it by ENOTTY.
            reason = f"the host is too busy for this guest's requests ({name}). Try again in a minute"
            return Unavailable(str(self._path), reason, retryable=True)
        if number == errno.ENOTTY:
            self._dead = (
                "takes no requests (ENOTTY): an earlier failure has disabled the guest's message key (`dmesg` names "
                "it), or this is not the SEV-SNP guest device. Nothing can be attested until the guest is rebooted"
            )
        else:
            self._dead = (
                f"failed with {name} (firmware error 0x{fw_error:x}, host error {vmm_error}). Linux disables the "
                "guest's message key after a failure (see `dmesg`): nothing can be attested until the guest is rebooted"
            )
        return DeviceDead(str(self._path), self._dead)

    def _report_of(self, response: ReportResponse, report_data: bytes, vmpl: int) -> bytes:
        hint = f"VMPL {vmpl} may be more privileged than the level that this guest runs at"
        self._require_status(response.status, "a report", hint)
        if response.report_size != REPORT_SIZE:
            raise self._unavailable(
                f"answered with a report of {response.report_size} bytes, wanted {REPORT_SIZE}: this firmware's "
                "reports are not known to this release. Update SafeRouter"
            )
        report = bytes(response.report)
        if report[0x50:0x90] != report_data:  # an old report, or somebody else's
            raise self._unavailable(
                "answered with a report over other report data than was asked for. Trust nothing that this machine "
                "attests until you know what stands between the guest and its firmware"
            )
        return report

    def _require_status(self, status: int, wanted: str, hint: str) -> None:
        if status != 0:
            words = _STATUS_WORDS.get(status, "not a status that is known here")
            advice = f": {hint}" if status == 0x16 else ""
            raise self._unavailable(f"the firmware answered status 0x{status:x} ({words}) and not {wanted}{advice}")

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(str(self._path), reason, retryable=False)


class SevGuestAttester:
    """An Attester on the device. Certificates come from the host's table, and what it lacks from `endorse`."""

    tee_type = "sev_snp"

    def __init__(self, device: SevGuestDevice, endorse: Endorser) -> None:
        self._device = device
        self._endorse = endorse

    def attest(self, report_data: bytes) -> Evidence:
        """A report over these 64 bytes, with its endorsements. Raises Unavailable, ValueError."""
        raw, table = self._device.get_ext_report(report_data)
        return device_evidence(raw, table, self._endorse, str(self._device.path))


def _report_request(report_data: bytes, vmpl: int) -> ReportRequest:
    if len(report_data) != 64:
        raise ValueError(f"report_data: {len(report_data)} bytes, wanted 64")
    _require_range("vmpl", vmpl, MAX_VMPL)
    return ReportRequest((ctypes.c_uint8 * 64)(*report_data), vmpl)


def _require_range(name: str, value: int, most: int) -> None:
    """Because ctypes silently cuts a number that does not fit."""
    if not 0 <= value <= most:
        raise ValueError(f"{name}: {value}, wanted 0 to {most}")
