"""What people see who come from a message: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from mailer.core import preference
from mailer.core.preference import Mode
from mailer.web.words import Words, dated

# What such a page may do: show its own style and send its own form.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

_STYLE = """
:root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif;
  --ink: #1d2433; --soft: #5b6474; --line: #d9dee7; --card: #fff; --page: #f1f3f7;
  --go: #1d4ed8; --tint: #eef3ff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf2; --soft: #9aa4b6;
  --line: #333b4a; --card: #1b202b; --page: #12151c; --go: #3b6cf0; --tint: #202b45; } }
* { box-sizing: border-box; }
body { margin: 0; display: grid; min-height: 100vh; place-items: center;
  background: var(--page); color: var(--ink); }
main { width: min(30rem, 100vw); padding: 2rem 1.25rem; background: var(--card);
  border-radius: 1rem; box-shadow: 0 1px 8px #0002; }
@media (max-width: 30rem) { body { place-items: start stretch; }
  main { min-height: 100vh; border-radius: 0; box-shadow: none; } }
.who { margin: 0 0 1.25rem; padding-bottom: .75rem; font-weight: 600;
  border-bottom: 3px solid var(--go); }
h1 { margin: 0 0 .5rem; font-size: 1.45rem; line-height: 1.25; text-wrap: balance; }
p { margin: 0 0 1.1rem; }
fieldset { margin: 0 0 1.25rem; padding: 0; border: 1px solid var(--line);
  border-radius: .7rem; overflow: hidden; }
legend { float: left; width: 100%; padding: .6rem .9rem .3rem; font-size: .8rem;
  font-weight: 600; color: var(--soft); }
fieldset label { clear: both; display: flex; gap: .75rem; align-items: flex-start;
  padding: .65rem .9rem; border-top: 1px solid var(--line); cursor: pointer; }
legend + label { border-top: 0; }
label:has(:checked) { background: var(--tint); }
input[type=checkbox], input[type=radio] { flex: none; width: 1.2rem; height: 1.2rem;
  margin: .15rem 0 0; accent-color: var(--go); }
input[type=email], input[type=text] { width: 100%; margin: .3rem 0 0;
  padding: .7rem .8rem; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--card);
  color: var(--ink); font: inherit; }
.field { display: block; margin: 0 0 1.1rem; font-size: .9rem; font-weight: 600; }
.field .small { font-weight: 400; }
button { width: 100%; margin: 0 0 .75rem; padding: .85rem 1rem; border: 0;
  border-radius: .6rem; background: var(--go); color: #fff; font: inherit;
  font-weight: 600; cursor: pointer; }
button.quiet { background: none; color: var(--ink); border: 1px solid var(--line); }
:focus-visible { outline: 3px solid #93b4ff; outline-offset: 2px; }
.small { margin: .2rem 0 0; color: var(--soft); font-size: .85rem; }
.foot { margin: 1rem 0 0; padding-top: .9rem; border-top: 1px solid var(--line); }
.note { padding: .7rem .9rem; border-radius: .6rem; background: var(--tint); }
.trap { position: absolute; left: -99rem; }
a { color: inherit; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Who writes, as the pages name them."""

    name: str
    contact: str = ""  # where people reach a person
    address: str = ""  # the postal one


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as people read it."""

    name: str
    title: str
    describes: str = ""
    is_wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page of preferences shows of a person."""

    email: str  # masked
    topics: Sequence[Topic]
    every: int
    paused_until: datetime | None
    tracking: Mode | None


def page(house: House, say: Words, *, title: str, body: str) -> str:
    """Return a whole page; *body* is HTML, the rest is text."""
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="{say["code"]}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex, nofollow">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f'<body><main><p class="who">{escape(house.name)}</p>'
        f"<h1>{escape(title)}</h1>{body}{_foot(house, say)}</main></body></html>\n"
    )


def confirm(house: House, say: Words, *, email: str = "", preferences: str = "") -> str:
    """Ask whether to unsubscribe.  Only the button does: scanners follow links.

    *preferences* is the address of the page where a person can ask for less.
    """
    text = say["confirm.text"].format(email=email or say["this"], who=house.name)
    less = (
        f'<p><a href="{escape(preferences)}">{escape(say["confirm.less"])}</a></p>'
        if preferences
        else ""
    )
    body = (
        f"<p>{escape(text)}</p>"
        f"{_form({'confirm': '1'}, _button(say['confirm.button']))}{less}"
    )
    return page(house, say, title=say["confirm.title"], body=body)


def unsubscribed(house: House, say: Words) -> str:
    """Say that it is done, and offer the way back."""
    body = (
        f"<p>{escape(say['done.text'])}</p>"
        f"{_form({'undo': '1'}, _button(say['done.undo'], quiet=True))}"
    )
    return page(house, say, title=say["done.title"], body=body)


def told(house: House, say: Words, *, title: str, text: str) -> str:
    """Say one thing."""
    return page(house, say, title=say[title], body=f"<p>{escape(text)}</p>")


def try_again(house: House, say: Words, sent: Mapping[str, str]) -> str:
    """Say that it is not done, and offer what was *sent* once more."""
    body = (
        f"<p>{escape(say['again.text'])}</p>{_form(sent, _button(say['again.button']))}"
    )
    return page(house, say, title=say["again.title"], body=body)


def preferences(house: House, say: Words, shown: Shown) -> str:
    """Show what a person gets, and let them choose."""
    until = shown.paused_until
    note = ""
    if until:
        text = say["prefs.paused"].format(date=dated(say, until))
        note = f'<p class="note">{escape(text)}</p>'
    pauses = [0, *preference.PAUSES]
    form = (
        f'<form method="post"><input type="hidden" name="shown" '
        f'value="{escape(" ".join(one.name for one in shown.topics))}">'
        f"{_topics(say, shown.topics)}"
        f"{_radios(say, 'every', [0, *preference.EVERY], shown.every)}"
        f"{_radios(say, 'pause', pauses, '' if until else 0)}"
        f"{_radios(say, 'tracking', list(Mode), shown.tracking or '')}"
        f'<label class="field">{escape(say["prefs.email"])}'
        '<input type="email" name="email" autocomplete="email" maxlength="254">'
        f'<span class="small">{escape(say["prefs.email.hint"])}</span></label>'
        f"{_button(say['prefs.save'])}"
        '<button class="quiet" name="none" value="1">'
        f"{escape(say['prefs.none'])}</button></form>"
    )
    text = escape(say["prefs.for"].format(email=shown.email))
    body = f"<p>{text}</p>{note}{form}"
    return page(house, say, title=say["prefs.title"], body=body)


def away(house: House, say: Words) -> str:
    """Offer the one choice that can be made without knowing the others."""
    stop = _button(say["prefs.none"])
    body = f"<p>{escape(say['prefs.away'])}</p>{_form({'none': '1'}, stop)}"
    return page(house, say, title=say["prefs.title"], body=body)


def saved(
    house: House, say: Words, *, text: str, before: Mapping[str, str] | None
) -> str:
    """Say that it is saved; *before* is the form that brings back what was."""
    undo = _form(before, _button(say["saved.undo"], quiet=True)) if before else ""
    back = f'<p><a href="">{escape(say["saved.back"])}</a></p>'
    body = f"<p>{escape(text)}</p>{undo}{back}"
    return page(house, say, title=say["saved.title"], body=body)


def ask(house: House, say: Words) -> str:
    """Ask whether an address is a person's own.  Only the button says yes."""
    text = say["yes.text"].format(who=house.name)
    body = f"<p>{escape(text)}</p>{_form({'confirm': '1'}, _button(say['yes.button']))}"
    return page(house, say, title=say["yes.title"], body=body)


def join(house: House, say: Words, *, trap: str) -> str:
    """Show the form of the sign-up; *trap* is the field that only machines fill."""
    fields = "".join(
        f'<label class="field">{escape(say["join." + name])}'
        f'<input type="{kind}" name="{name}" autocomplete="{auto}" {more}></label>'
        for name, kind, auto, more in (
            ("email", "email", "email", "required"),
            ("first_name", "text", "given-name", ""),
            ("zip", "text", "postal-code", 'inputmode="numeric"'),
        )
    )
    hidden = (
        f'<label class="trap" aria-hidden="true">{trap}'
        f'<input type="text" name="{trap}" tabindex="-1" autocomplete="off"></label>'
    )
    body = f'<form method="post">{fields}{hidden}{_button(say["join.button"])}</form>'
    return page(house, say, title=say["join.title"], body=body)


def _topics(say: Words, topics: Sequence[Topic]) -> str:
    if not topics:
        return ""
    boxes = "".join(
        f'<label><input type="checkbox" name="topic-{escape(one.name)}" value="1"'
        f"{' checked' if one.is_wanted else ''}><span>{escape(one.title)}"
        f"{_small(one.describes)}</span></label>"
        for one in topics
    )
    legend = escape(say["prefs.topics"])
    return f"<fieldset><legend>{legend}</legend>{boxes}</fieldset>"


def _small(text: str) -> str:
    return f'<br><span class="small">{escape(text)}</span>' if text else ""


def _radios(
    say: Words, name: str, values: Sequence[int | str], chosen: int | str
) -> str:
    lines = "".join(
        f'<label><input type="radio" name="{name}" value="{value}"'
        f"{' checked' if value == chosen else ''}>"
        f"<span>{escape(say[f'prefs.{name}.{value}'])}</span></label>"
        for value in values
    )
    legend = escape(say[f"prefs.{name}"])
    return f"<fieldset><legend>{legend}</legend>{lines}</fieldset>"


def _form(hidden: Mapping[str, str], inside: str) -> str:
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in hidden.items()
    )
    return f'<form method="post">{fields}{inside}</form>'


def _button(text: str, *, quiet: bool = False) -> str:
    kind = ' class="quiet"' if quiet else ""
    return f'<button type="submit"{kind}>{escape(text)}</button>'


def _foot(house: House, say: Words) -> str:
    lines = []
    if house.contact:
        shown = escape(house.contact)
        link = f'<a href="mailto:{shown}">{shown}</a>'
        lines.append(escape(say["questions"]).format(contact=link))
    if house.address:
        lines.append(escape(house.address))
    if not lines:
        return ""
    return f'<p class="small foot">{"<br>".join(lines)}</p>'
