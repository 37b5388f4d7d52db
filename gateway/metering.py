"""Step 6, meter: what a call used, without a word of its content."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gateway.inference import Usage
from gateway.money.bill import Bill, Charge, Ending
from gateway.storage.calls import Activity


@dataclass(frozen=True, slots=True)
class Meter:
    """Started with a call; `read` gives its activity."""

    key_id: str
    model: str | None
    provider: str | None
    attempts: str | None = None  # JSON; None if no provider was asked
    bill: Bill | None = None  # of who answers; None: its price is not known
    started_at: int = field(default_factory=lambda: int(time.time()))
    started: float = field(default_factory=time.monotonic)

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
        asked = self.attempts not in (None, "[]")
        charge = Charge(None) if self.bill is None else self.bill.charge(Ending(status, usage, asked, whole, tokens))
        return Activity(
            key_id=self.key_id,
            model=self.model,
            provider=self.provider,
            status=status,
            started_at=self.started_at,
            attempts=self.attempts,
            milliseconds=int((time.monotonic() - self.started) * 1000),
            partial=partial,
            skipped=skipped,
            cost_micro_usd=charge.micro_usd,
            cost_estimated=charge.estimated,
            **{name: None if usage is None else getattr(usage, name) for name in Usage.__slots__},
        )
