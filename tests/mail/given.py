"""Templates for tests: folders written where the test says."""

from collections.abc import Mapping
from pathlib import Path

ORGANIZATION = {
    "organization": "Example for Congress",
    "committee": "Example for Congress Committee",
    "postal_address": "1 Main Street, Springfield, IL 62701",
    "disclaimer": "Paid for by Example for Congress Committee.",
    "tax_line": "Contributions are not tax deductible.",
    "website": "https://example.org/",
}
ADDRESSES = {
    "unsubscribe_url": "https://t.example.org/u/TOKEN",
    "preferences_url": "https://t.example.org/p/TOKEN",
    "view_url": "https://t.example.org/v/TOKEN",
    "pixel_url": "https://t.example.org/o/TOKEN",
}
META = 'subject = "Hello"\npreheader = "Before you read"\ndescribes = "A test"\n'


def mjml(inside: str, *, head: str = "") -> str:
    """Return a whole MJML document with one column that holds *inside*."""
    return (
        f"<mjml><mj-head>{head}</mj-head><mj-body><mj-section><mj-column>"
        f"{inside}</mj-column></mj-section></mj-body></mjml>"
    )


def folder(
    root: Path,
    body: str,
    *,
    name: str = "body.mjml",
    meta: str = META,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a template's folder below *root* and return it."""
    own = root / "letter"
    own.mkdir(exist_ok=True)
    (root / "layouts").mkdir(exist_ok=True)
    written = {f"letter/{name}": body, "letter/meta.toml": meta, **(files or {})}
    for path, text in written.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return own
