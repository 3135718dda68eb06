"""What people see who come from a message: no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape

# What such a page may do: show its own style and send its own form.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

_STYLE = """
:root { color-scheme: light dark; font: 18px/1.5 system-ui, sans-serif; }
body { margin: 0; display: grid; min-height: 100vh; place-items: center;
  background: #f4f5f7; color: #1d2433; }
main { box-sizing: border-box; width: min(30rem, 100vw); padding: 2.5rem 1.5rem;
  background: #fff; border-radius: .75rem; box-shadow: 0 1px 8px #0002; }
.who { margin: 0 0 1.5rem; color: #5b6474; font-size: .9rem; letter-spacing: .02em; }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; }
p { margin: 0 0 1.25rem; }
button { width: 100%; padding: .9rem 1rem; border: 0; border-radius: .5rem;
  background: #1d4ed8; color: #fff; font: inherit; font-weight: 600; cursor: pointer; }
button:focus-visible { outline: 3px solid #93b4ff; outline-offset: 2px; }
.small { margin: 1.25rem 0 0; color: #5b6474; font-size: .85rem; }
a { color: inherit; }
@media (prefers-color-scheme: dark) {
  body { background: #12151c; color: #e8ebf2; }
  main { background: #1b202b; box-shadow: none; }
  .who, .small { color: #9aa4b6; }
}
"""


def page(*, title: str, organization: str, body: str) -> str:
    """Return a whole page; *body* is HTML, the rest is text."""
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex, nofollow">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f'<body><main><p class="who">{escape(organization)}</p>'
        f"<h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )


def confirm(*, organization: str, contact: str) -> str:
    """Ask whether to unsubscribe.  Only the button does: scanners follow links."""
    return page(
        title="Stop these emails?",
        organization=organization,
        body=(
            f"<p>We will take your address off this list of "
            f"{escape(organization)}. It takes effect at once.</p>"
            '<form method="post"><input type="hidden" name="confirm" value="1">'
            '<button type="submit">Yes, unsubscribe me</button></form>'
            f"{_contact(contact)}"
        ),
    )


def unsubscribed(*, organization: str, contact: str) -> str:
    """Say that it is done."""
    return page(
        title="You are unsubscribed",
        organization=organization,
        body=(
            "<p>You will get no more of these emails. One that is already on its way "
            f"may still arrive.</p>{_contact(contact)}"
        ),
    )


def try_again(*, organization: str) -> str:
    """Say that it is not done."""
    return page(
        title="Please try again",
        organization=organization,
        body=(
            "<p>We could not save that just now. Nothing has changed yet: please try "
            'again in a minute.</p><form method="post">'
            '<input type="hidden" name="confirm" value="1">'
            '<button type="submit">Try again</button></form>'
        ),
    )


def _contact(address: str) -> str:
    if not address:
        return ""
    shown = escape(address)
    return (
        '<p class="small">Questions? Write to '
        f'<a href="mailto:{shown}">{shown}</a>.</p>'
    )
