"""The distributions that this program runs on, by what is installed beside it."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from gateway.registry.bom import Package

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?[^;]*(?:;(.*))?", re.DOTALL)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
MAX_LICENCE = 256  # characters: some packages put the whole text there


def installed_packages(root: str = "saferouter", extra: str = "gateway") -> list[Package]:
    """`root` with that extra, and all that it needs, as far as it is installed."""
    found: dict[str, Package] = {}
    asked = [(root, extra)]
    while asked:
        name, wanted = asked.pop()
        if name in found:
            continue
        try:
            one = distribution(name)
        except PackageNotFoundError:  # for another platform, or an older Python
            continue
        needs = _needs(one, wanted)
        found[name] = Package(name, one.version, _licence(one), needs)
        asked += [(each, "") for each in needs]
    return list(found.values())


def _needs(one: Distribution, wanted: str) -> tuple[str, ...]:
    """The names that it requires, without those of other extras."""
    names = set()
    for line in one.requires or ():
        if (parts := _REQUIREMENT.match(line)) is None:
            continue
        extra = _EXTRA.search(parts[2] or "")
        if extra is None or extra[1] == wanted:
            names.add(re.sub(r"[-_.]+", "-", parts[1]).lower())
    return tuple(sorted(names))


def _licence(one: Distribution) -> str | None:
    named = [*(one.metadata.get_all("License-Expression") or ()), *(one.metadata.get_all("License") or ())]
    plain = [str(each) for each in named if "\n" not in str(each)]
    classified = [str(each) for each in one.metadata.get_all("Classifier") or () if str(each).startswith("License ::")]
    told = plain or [each.rpartition(" :: ")[2] for each in classified] or [str(each).splitlines()[0] for each in named]
    return told[0].strip()[:MAX_LICENCE] or None if told else None
