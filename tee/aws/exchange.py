"""One bounded HTTP exchange with AWS; only Unavailable escapes, and never with a header in it."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2

from tee.errors import Unavailable

TIMEOUT_SECONDS = 10.0
MAX_ANSWER = 64 << 10  # a KMS answer is two ciphertexts; credentials are smaller


def exchange(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """Status and body. No redirects, no proxy, at most 64 KiB of answer. Raises Unavailable."""
    try:
        with (
            httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream(method, url, headers={"accept-encoding": "identity", **headers}, content=body) as response,
        ):
            answer = b""
            for chunk in response.iter_raw():
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    raise Unavailable(url, f"answered more than {MAX_ANSWER} bytes", retryable=False)
            return response.status_code, answer
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:  # whose words may quote a header
        raise Unavailable(url, f"no answer ({type(error).__name__})", retryable=True) from None
