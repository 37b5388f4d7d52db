"""Every kind of call at once on a gateway that is killed again and again; it keeps what each client was told."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2

from tests.worlds.gateway import PLAIN, RunningGateway, chat_body
from tests.worlds.open_stream import STAYS, Leaving, OpenStream
from tests.worlds.provider import PROVIDER_KEY

CLIENTS = 40
LOOK_SECONDS = 0.1  # between two looks at the checkpoint
KILLED_IN_START, START_SECONDS = 0.3, 2.0  # how often a start is killed as well, and within which time of it
SILENCE_SECONDS = 3  # how long the gateway waits for a provider that stalls: a busy machine is no stall
PATIENCE_SECONDS = 0.5  # of clients that leave
# What the last user message orders of the mock provider, and the status that the client then gets.
ANSWERS = (("", 200), ("mock:chunks=30", 200), ("mock:slow=0.2", 200))
BUFFERED_FAULTS = (
    ("mock:error=400", 400),
    ("mock:error=401", 502),
    ("mock:error=429", 429),
    ("mock:error=500", 500),
    ("mock:cut", 502),
    ("mock:stall", 502),
)
STREAMED_FAULTS = (("mock:cut", 200), ("mock:midstream-error", 200), ("mock:stall", 200))


@dataclass(frozen=True, slots=True)
class Plan:
    """One call to make. `status` is what its client gets if it stays and nobody dies."""

    kind: str
    request: bytes
    status: int
    leaving: Leaving = STAYS

    @property
    def completes(self) -> bool:
        """Whether an answer that arrives whole is one that its provider has finished."""
        return self.kind in ("buffered", "streamed", "refused") or self.status != 200


@dataclass(slots=True)
class Made:
    """One call as its client saw it. `survived`: the gateway that it reached was not killed meanwhile."""

    plan: Plan
    heard: OpenStream
    survived: bool

    @property
    def owed(self) -> bool:
        """Whether its client must have had a whole answer."""
        return self.survived and self.plan.leaving == STAYS

    @property
    def whole_request(self) -> bool:
        """Whether the client sent all of its body."""
        return self.plan.leaving.sent in (None, len(self.plan.request))


def load_config(provider_url: str) -> str:
    """A gateway in front of the mock provider, and of a provider that nobody can reach. The key is in LOAD_KEY."""
    rows = [f"[limits]\nsilence_seconds = {SILENCE_SECONDS}\n"]
    for name, url in (("load", provider_url), ("absent", "http://127.0.0.1:1/v1")):
        rows.append(f'[[providers]]\nid = "{name}"\nfamily = "vllm"\nbase_url = "{url}"\ncredential_env = "LOAD_KEY"\n')
        rows.append(f'[[models]]\nid = "{name}-1"\nprovider = "{name}"\nupstream_model = "mock-1"\n')
    return "".join(rows)


LOAD_ENVIRON = {"LOAD_KEY": PROVIDER_KEY}


def plans(count: int, dice: random.Random) -> Iterator[Plan]:
    """That many calls of every kind; no two requests are equal."""
    makers = (_buffered, _streamed, _failing, _refused, _left)
    for number in range(count):
        (maker,) = dice.choices(makers, weights=(30, 30, 15, 5, 20))
        yield maker(f"call {number}", dice)


def _buffered(said: str, dice: random.Random) -> Plan:
    order, status = dice.choice(ANSWERS)
    return Plan("buffered", chat_body(f"{said} {order}", "load-1"), status)


def _streamed(said: str, dice: random.Random) -> Plan:
    order, status = dice.choice(ANSWERS)
    return Plan("streamed", chat_body(f"{said} {order}", "load-1", stream=True), status)


def _failing(said: str, dice: random.Random) -> Plan:
    stream = dice.random() < 0.5
    order, status = dice.choice(STREAMED_FAULTS if stream else BUFFERED_FAULTS)
    return Plan("failing", chat_body(f"{said} {order}", "load-1", stream=stream), status)


def _refused(said: str, dice: random.Random) -> Plan:
    """By the gateway itself: nothing is sent on."""
    refusals = (
        (chat_body(said, "no-such-model"), 404),
        (chat_body(said, "absent-1"), 502),
        (chat_body(said, "load-1", sf_policy="another"), 400),
        (f'{{"model": "load-1", "{said}'.encode(), 400),
    )
    return Plan("refused", *dice.choice(refusals))


def _left(said: str, dice: random.Random) -> Plan:
    """Its client hangs up: before its own body is whole, at once after it, in the answer, or in the waiting."""
    order = dice.choice(("mock:slow=0.5 mock:chunks=50", "mock:stall", "mock:chunks=200"))
    request = chat_body(f"{said} {order}", "load-1", stream=dice.random() < 0.7)
    leavings = (
        Leaving(sent=dice.randrange(len(request))),
        Leaving(sent=len(request)),
        Leaving(taken=dice.randrange(1, 20_000), seconds=PATIENCE_SECONDS),
        Leaving(seconds=dice.random() * PATIENCE_SECONDS),
    )
    return Plan("left", request, 200, dice.choice(leavings))


@dataclass(slots=True)
class Load:
    """Makes `calls` calls and kills the gateway `kills` times. `made` and `checkpoints` are what was seen."""

    gateway: RunningGateway
    calls: int
    kills: int
    dice: random.Random
    made: list[Made] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)
    kills_in_start: int = 0
    seconds: float = 0.0
    _life: int = 0
    _up: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until the last call has ended; the gateway then runs."""
        began = time.monotonic()
        self._up.set()
        key, todo = self.gateway.api_key, plans(self.calls, self.dice)
        looking = asyncio.create_task(self._look())
        killing = asyncio.create_task(self._kill())
        await asyncio.gather(killing, *(self._client(key, todo) for _ in range(CLIENTS)))
        self.seconds = time.monotonic() - began
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

    def figures(self) -> str:
        """What was done, in a line."""
        kinds = Counter(made.plan.kind for made in self.made)
        cut = sum(not made.survived and not made.heard.whole for made in self.made)
        untold = sum(made.heard.receipt_id is None for made in self.made)
        return (
            f"{len(self.made)} calls ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}) and "
            f"{self.kills} kills ({self.kills_in_start} in a start) in {self.seconds:.0f} s: {cut} cut by a kill, "
            f"{untold} never told their id, {len(self.checkpoints)} checkpoints seen"
        )

    async def _client(self, key: str, todo: Iterator[Plan]) -> None:
        for plan in todo:
            heard = OpenStream(plan.request)
            while not heard.reached:  # a connection that nobody takes is no call
                await self._up.wait()
                life = self._life
                await heard.run(self.gateway, key, plan.leaving)
            self.made.append(Made(plan, heard, survived=life == self._life))

    async def _kill(self) -> None:
        """At random instants; now and then the next kill comes already in the start that follows one."""
        instants = iter(sorted(self.dice.sample(range(self.calls - CLIENTS), self.kills)))
        for instant in instants:
            while len(self.made) < instant:
                await asyncio.sleep(0.005)
            await asyncio.sleep(self.dice.random() / 10)
            self._life += 1
            self._up.clear()
            await asyncio.to_thread(self.gateway.kill)
            if self.dice.random() < KILLED_IN_START and next(instants, None) is not None:
                self.gateway.launch()
                await asyncio.sleep(self.dice.random() * START_SECONDS)
                await asyncio.to_thread(self.gateway.kill)
                self.kills_in_start += 1
            await asyncio.to_thread(self.gateway.start)
            self._up.set()

    async def _look(self) -> None:
        """Keep every checkpoint that the log shows."""
        async with httpx2.AsyncClient(timeout=5, **PLAIN) as client:
            while True:
                with suppress(httpx2.HTTPError):
                    answer = await client.get(f"{self.gateway.url}/attestation/transparency/checkpoint")
                    if answer.status_code == 200 and answer.content not in self.checkpoints[-1:]:
                        self.checkpoints.append(answer.content)
                await asyncio.sleep(LOOK_SECONDS)
