"""The log's word on every keyset: its `startup` leaf, published and cosigned before the keyset is used."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from gateway.announcements import Outset, configuration_change
from gateway.publisher import Publisher
from gateway.storage.writer import GroupCommit, NotRecorded, Transaction
from gateway.workload import Document, Keyset
from tee.canonical import digest, digest_bytes
from tee.errors import Unavailable
from tee.quote import decode_base64, encode_base64
from tee.snp.report import SIGNED_SIZE, parse_report

RETRY_SECONDS = 2.0


class StartupLog:
    """Announces keysets in the log, and shows where the live one stands."""

    def __init__(self, writer: GroupCommit, publisher: Publisher, outset: Outset) -> None:
        self._writer = writer
        self._publisher = publisher
        self._last, self._identity = outset.startup, outset.identity
        self._leaves: dict[str, int] = {}

    async def announce(self, keyset: Keyset, quote: Document, patience: float) -> None:
        """Log the keyset, and wait until its leaf is published, with witnesses until their quorum has cosigned it.

        What it changes is said before it, in the same transaction: after a crash both are there, or neither. Raises
        Unavailable, also where the witnesses do not answer for `patience` seconds.
        """
        body = startup_body(keyset, quote)
        told = [("identity.epoch", self._identity), ("configuration", configuration_change(self._last, body))]
        leaves = [*((kind, change) for kind, change in told if change is not None), ("startup", body)]
        try:
            index: int = await self._writer.durable(partial(_append, leaves))
        except NotRecorded as error:
            raise Unavailable("the gateway's database", error.message, retryable=True) from None
        self._last, self._identity = body, None
        await self._publisher.publish()
        try:
            async with asyncio.timeout(patience):
                while not await self._publisher.cosign():
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            reason = (
                "have not cosigned this start, and without their quorum nothing is served. Their operators need the "
                f"log's key: {self._publisher.vkey}"
            )
            raise Unavailable("the log's witnesses", reason, retryable=True) from None
        self._leaves[keyset.digest] = index

    def member(self, keyset_digest: str) -> Document:
        """The `log` member of a quote over this keyset (SPEC §15.8)."""
        index = self._leaves[keyset_digest]
        shown = self._publisher.show(index)
        return {
            "checkpoint": shown.proof.checkpoint.decode(),
            "startup": {
                "index": index,
                "leaf_b64": encode_base64(shown.leaf),
                "proof": [encode_base64(value) for value in shown.proof.hashes],
            },
        }


def _append(leaves: list[tuple[str, Document]], transaction: Transaction) -> int:
    """The index of the last of these leaves."""
    return [transaction.sequence.append(kind, body) for kind, body in leaves][-1]


def startup_body(keyset: Keyset, quote: Document) -> dict[str, Any]:
    """What the log says of a keyset (SPEC §15.4): the workload's own words, and the report that binds them."""
    report = decode_base64(quote["report_b64"], "report_b64")
    workload = quote["workload"]
    return {
        "keyset_digest": keyset.digest,
        "workload_digest": digest(workload),
        "measurement": parse_report(report).measurement.hex(),
        "report_digest": digest_bytes(report[:SIGNED_SIZE]),
        "audience": workload["audience"],
        "build": workload["build"],
        "configuration": workload["configuration"],
    }
