from pathlib import Path

import pytest

from mailer.mail import compiler, sample, sandbox

DOCS = (Path(__file__).parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "word",
    sorted({*sandbox.FILTERS, *sample.ALWAYS, *sample.SOMETIMES, *compiler.KEYS}),
)
def test_everything_that_a_template_may_name_is_in_the_docs(word: str) -> None:
    assert f"`{word}`" in DOCS
