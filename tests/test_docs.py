"""The pages that tests make say what the code does, and leave no requirement out."""

from __future__ import annotations

import pytest

from tests.docs import NOT_YET, WANTED, numbers, pages, requirements
from tests.features import ANSWERS, PATHS, QUESTIONS, subjects


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_each_page_is_current(page: object) -> None:
    (found,) = (path for path in pages() if path == page)
    assert found.read_text() == pages()[found], f"{found.name} is stale: run `make docs`"


def test_no_requirement_of_the_library_is_left_out() -> None:
    tested = requirements()
    assert not [number for number in WANTED if number not in tested and number not in NOT_YET]
    assert not [number for number in NOT_YET if number in tested], "these have a test now: take them off the list"


def test_ranges_are_spelled_out() -> None:
    assert numbers("R89, R91 to R93 and R100-R101; SHA384R1 and R") == [89, 91, 92, 93, 100, 101]


def test_no_family_fails_at_what_all_must_do() -> None:
    for subject in subjects():
        for name in ("text", "tools", "parallel calls", "reasoning", "JSON schema"):
            probe = {**QUESTIONS, **ANSWERS, **PATHS}[name]
            assert probe(subject) != "no", (subject.family, name)
