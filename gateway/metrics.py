"""What is counted. Labels are words of the configuration or of this code: never a tenant, a key or a caller's text."""

from __future__ import annotations

from gateway.tally import Family, Tally

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_CALL = ("surface", "provider", "stream")

REQUESTS = Family(
    "saferouter_requests",
    "Calls that ended. outcome: complete, cut (the provider or a stop broke off), client_left, refused, failed.",
    ("surface", "provider", "model", "status", "outcome"),
)
TOKENS = Family(
    "saferouter_tokens",
    "Tokens as providers report them. cached, cache_write and audio_input are part of input; reasoning and "
    "audio_output are part of output.",
    ("provider", "model", "class"),
)
ATTEMPTS = Family("saferouter_attempts", "Requests to providers, retries included.", ("provider", "outcome"))
FALLBACKS = Family("saferouter_fallbacks", "Calls that went on to another provider.", ("from", "to"))
BROKEN_LINES = Family("saferouter_malformed_lines", "Lines of streams that were skipped as unreadable.", ("provider",))
CREDENTIALS = Family(
    "saferouter_leak_scan_findings",
    "Credentials found in prompts. outcome: redacted (the prompt went on without), refused.",
    ("kind", "outcome"),
)
LEAVES = Family("saferouter_log_leaves", "Durable leaves; those of type receipt are the signed receipts.", ("type",))
QUOTES = Family("saferouter_quotes", "Quotes over a caller's nonce, made or refused.", ("outcome",))
LOST_LINES = Family("saferouter_access_log_lost_lines", "Lines of the access log that its reader was too slow for.")
DURATION = Family(
    "saferouter_request_duration_seconds", "From a call's arrival to the last byte of its answer.", _CALL, _SECONDS
)
FIRST_BYTE = Family(
    "saferouter_time_to_first_byte_seconds", "From a call's arrival to the first byte of its answer.", _CALL, _SECONDS
)
OVERHEAD = Family(
    "saferouter_overhead_seconds",
    "Our part of the time to the first byte: without waiting for the caller's body, the provider or durability.",
    ("surface", "stream"),
    _OVERHEAD,
)
DURABLE = Family(
    "saferouter_durable_wait_seconds",
    "How long a call waited until its opening, or its receipt, was durable.",
    ("step",),
    _OVERHEAD,
)
BATCH = Family(
    "saferouter_log_batch_size", "Operations that became durable together.", (), (1, 2, 4, 8, 16, 32, 64, 128, 256)
)
FAMILIES = (
    *(REQUESTS, TOKENS, ATTEMPTS, FALLBACKS, BROKEN_LINES, CREDENTIALS, LEAVES, QUOTES, LOST_LINES),
    *(DURATION, FIRST_BYTE, OVERHEAD, DURABLE, BATCH),
)


def new_tally() -> Tally:
    """Nothing counted yet."""
    return Tally(FAMILIES)
