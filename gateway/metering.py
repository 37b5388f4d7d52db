"""Step 6, meter: what a call used, without a word of its content."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gateway.inference import Usage
from gateway.money.bill import Bill, Charge, Ending
from gateway.storage.calls import Activity


@dataclass(frozen=True, slots=True)
class Meter:
    """Started with a call; `read` gives its activity, whose members are those of the same names."""

    tenant: str
    key_id: str
    model: str | None = None
    original_model: str | None = None
    provider: str | None = None
    policy: str | None = None
    tier: str | None = None
    findings: str | None = None
    attempt: int | None = None  # None until it is known what was tried
    provider_status: int | None = None
    failure: str | None = None
    waited_ms: int = 0
    first_token_ms: int | None = None
    others: str | None = None
    bill: Bill | None = None  # of who answers; None: its price is not known
    started_at: int = field(default_factory=lambda: int(time.time()))
    started: float = field(default_factory=time.monotonic)

    def elapsed(self) -> int:
        """Milliseconds since the call began."""
        return int((time.monotonic() - self.started) * 1000)

    def read(
        self,
        status: int,
        usage: Usage | None,
        *,
        partial: bool = False,
        skipped: int = 0,
        whole: bool = True,
        tokens: int = 0,
    ) -> Activity:
        """The activity of a call that ends now with this HTTP status; `partial` if its answer was cut, `skipped` says
        how many pieces of a stream could not be read. For its cost: whether the provider's answer was `whole`, and how
        many `tokens` may have left of it.
        """
        asked = bool(self.attempt)
        charge = Charge(None) if self.bill is None else self.bill.charge(Ending(status, usage, asked, whole, tokens))
        return Activity(
            tenant=self.tenant,
            key_id=self.key_id,
            model=self.model,
            original_model=self.original_model,
            provider=self.provider,
            policy=self.policy,
            tier=self.tier,
            findings=self.findings,
            status=status,
            attempt=self.attempt or 0,
            provider_status=self.provider_status,
            failure=self.failure,
            waited_ms=self.waited_ms,
            first_token_ms=self.first_token_ms,
            others=self.others,
            started_at=self.started_at,
            milliseconds=self.elapsed(),
            partial=partial,
            skipped=skipped,
            cost_micro_usd=charge.micro_usd,
            cost_estimated=charge.estimated,
            **{name: None if usage is None else getattr(usage, name) for name in Usage.__slots__},
        )
