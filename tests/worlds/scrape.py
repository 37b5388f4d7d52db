"""A scrape of a running gateway, read by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.worlds.gateway import PLAIN, RunningGateway
from tests.worlds.workers import wait_for

PATIENCE = 60.0  # seconds, for what workers tell once a second


class Scrape:
    """The samples of one moment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """The sum over all series of that name with these labels."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def words(self, label: str) -> set[str]:
        """Every value that a label has."""
        return {sample.labels[label] for sample in self.samples if label in sample.labels}


def scrape(gateway: RunningGateway) -> Scrape:
    """As Prometheus would."""
    headers = {"authorization": f"Bearer {gateway.metrics_token}"} if gateway.metrics_token else {}
    response = httpx2.get(f"{gateway.url}/metrics", headers=headers, **PLAIN)
    assert response.status_code == 200, response.text
    return Scrape(response.text)


def scrape_until(gateway: RunningGateway, what: Callable[[Scrape], bool]) -> Scrape:
    """The first scrape of which that holds: what a call counts is there a moment after its last byte."""
    found: list[Scrape] = []

    def holds() -> bool:
        found.append(scrape(gateway))
        return what(found[-1])

    wait_for(holds, PATIENCE, "the counts do not come to that")
    return found[-1]
