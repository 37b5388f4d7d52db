"""Bill: one call's tariff and hold at one of its candidates, and what the call comes to when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.inference import Usage
from gateway.money.estimate import Hold
from gateway.money.pricing import Price, Rates, Tariff

CLIENT_LEFT = 499


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call costs, in micro-USD; None: nobody knows its price. `estimated`: the provider did not tell all."""

    micro_usd: int | None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended. `asked`: a provider was; `whole`: it gave the answer to its end, so its word on usage is the
    last; `tokens` bounds what left of an answer.
    """

    status: int
    usage: Usage | None
    asked: bool = True
    whole: bool = True
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """What applies to a call that this candidate answers."""

    tariff: Tariff
    hold: Hold

    def charge(self, ending: Ending) -> Charge:
        """What the call costs. A refusal is free, and so is a call that went nowhere."""
        usage = ending.usage
        if usage is not None and ending.whole:
            return Charge(self.tariff.cost(usage))
        refused = ending.status >= 400 and ending.status != CLIENT_LEFT
        if refused or not ending.asked:
            return Charge(0)
        if usage is None:
            return Charge(self.hold.cost_of_cut(ending.tokens), estimated=True)
        return Charge(self.tariff.cost(_at_least(usage, min(ending.tokens, self.hold.output_tokens))), estimated=True)


FREE = Bill(Tariff(Price(Rates(0, 0))), Hold(0, 0, 0))
"""Of what no provider charges for."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call asks of its key and tenant before it is made: to be held until it ends.

    `tenant_cap` is the most that the tenant may spend, None: any sum. `micro_usd` None: the price of a candidate is
    not known, `unpriced` names its model, and only who pays later and has no cap may call it.
    """

    tenant: str
    tenant_cap: int | None
    micro_usd: int | None
    input_micro_usd: int
    output_tokens: int
    unpriced: str | None = None


def reservation(tenant: str, cap: int | None, bills: tuple[Bill | None, ...], models: tuple[str, ...]) -> Reservation:
    """What to hold for a call that any of these candidates may answer; `models` are their ids."""
    holds = [bill.hold for bill in bills if bill is not None]
    if len(holds) < len(bills):
        return Reservation(tenant, cap, None, 0, 0, models[bills.index(None)])
    dearest = max(holds, key=lambda hold: hold.micro_usd)
    return Reservation(tenant, cap, dearest.micro_usd, dearest.input_micro_usd, dearest.output_tokens)


def _at_least(usage: Usage, completion: int) -> Usage:
    """The usage with that much of a completion: what a provider said on the way is behind what it sent."""
    names = {name: getattr(usage, name) for name in Usage.__slots__}
    return Usage(**names | {"completion_tokens": max(usage.completion_tokens, completion)})
