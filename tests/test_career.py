"""CAREER.md: two screens, and every question leads to the place in the lessons that answers it."""

import re

import pytest
from test_house import anchors, links

from shared import plan
from shared.files import ROOT

PAGE = ROOT / "CAREER.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (\d+) \| (.+) \|$", TEXT, re.M))


def test_it_is_two_screens_and_has_its_sections():
    assert len(TEXT.splitlines()) <= 70 and len(TEXT.split()) <= 1000
    for section in ("Sunday update", "Live demos", "first contribution", "capstone", "Questions", "Where people are"):
        assert re.search(rf"^## .*{section}", TEXT, re.M), section
    for command in ("./course report N", "./course report --verify report.md", "./course portfolio", "doctor --issue"):
        assert command in TEXT


@pytest.mark.parametrize("week", range(1, 17))
def test_two_or_three_questions_a_week_each_with_its_answer(week):
    found = re.findall(r"\[([^\]]+\?|[^\]]+\? [^\]]+)\]\(([^)]+)\)", ROWS[str(week)])
    assert 2 <= len(found) <= 3 and ROWS[str(week)].count("](") == len(found)
    for question, link in found:
        page, _, anchor = link.partition("#")
        assert page == f"{plan.folder(week)}/README.md", question
        if plan.is_there(week):  # weeks that are still being written have no places yet
            assert anchor in anchors(ROOT / page), f"{question}: say where"
    assert len({question for question, _ in found}) == len(found)


def test_all_other_links_lead_somewhere():
    for link in links(PAGE):
        page, _, anchor = link.partition("#")
        week = next((n for n in range(1, 17) if page.startswith(plan.folder(n))), 0)
        if not week or plan.is_there(week):
            assert (ROOT / page).is_file() and (not anchor or anchor in anchors(ROOT / page)), link
    assert all(address.startswith("https://") for address in re.findall(r"\]\((\w+:[^)]+)\)", TEXT))
