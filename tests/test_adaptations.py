"""The variants that the pages of docs/adaptations show are plugins that load."""

import re
from pathlib import Path

import pytest

from nnbench.facts import find_facts
from nnbench.registry import load_method

PAGES = Path(__file__).parents[1] / "docs" / "adaptations"
VARIANTS = [
    (page.stem, name, code)
    for page in sorted(PAGES.glob("*.md"))
    for code, name in re.findall(r"```python\n(# (\w+)\.py\n.*?)```", page.read_text(), re.DOTALL)
]


def test_each_of_three_pages_shows_one_variant() -> None:
    assert [page for page, _, _ in VARIANTS] == ["d2nwg", "nnit", "sane"]


@pytest.mark.parametrize(("page", "name", "code"), VARIANTS)
def test_a_variant_of_a_page_loads(page: str, name: str, code: str, tmp_path: Path) -> None:
    plugin = tmp_path / f"{name}.py"
    plugin.write_text(code)
    facts, method = find_facts([plugin]), load_method(name, [plugin])
    variant_of = facts[name].variant_of
    assert variant_of is not None and variant_of == method.variant_of
    assert variant_of[0] == page and facts[name].reference == facts[page].reference
    assert method.config != load_method(page).config  # type: ignore[attr-defined]
