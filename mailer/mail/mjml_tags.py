"""MJML's elements: where each belongs, what it takes (documentation.mjml.io, 4)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element: its parents, its attributes."""

    parents: frozenset[str]
    attributes: frozenset[str]


# Values that MJML hands through as they are; all others it reads as numbers or words.
FREE = frozenset({
    "href", "src", "alt", "title", "name", "rel", "color", "background-color",
    "background-url", "inner-background-color", "container-background-color",
    "css-class", "lang", "border-color", "mj-class", "srcset",
})  # fmt: skip

_PADDING = "padding padding-top padding-right padding-bottom padding-left"
_INNER = (
    "inner-padding inner-padding-top inner-padding-right inner-padding-bottom "
    "inner-padding-left"
)
_BORDER = "border border-top border-right border-bottom border-left border-radius"
_INNER_BORDER = (
    "inner-border inner-border-top inner-border-right inner-border-bottom "
    "inner-border-left inner-border-radius"
)
_FONT = (
    "font-family font-size font-style font-weight line-height letter-spacing "
    "text-decoration text-transform color"
)
_BACKGROUND = (
    "background-color background-url background-repeat background-size "
    "background-position background-position-x background-position-y"
)
_ALL = "css-class mj-class"
_COLUMNS = "mj-column mj-hero"
_CHILD = f"{_ALL} {_PADDING} container-background-color align"


def _element(parents: str, *attributes: str) -> Element:
    return Element(
        parents=frozenset(parents.split()) if parents else frozenset({""}),
        attributes=frozenset(" ".join((_ALL, *attributes)).split()),
    )


_TOP = "mj-body mj-wrapper"

ELEMENTS = {
    "mjml": _element("", "lang dir owa version"),
    "mj-head": _element("mjml"),
    "mj-body": _element("mjml", "background-color width id"),
    "mj-title": _element("mj-head"),
    "mj-preview": _element("mj-head"),
    "mj-attributes": _element("mj-head"),
    "mj-all": _element("mj-attributes"),
    "mj-class": _element("mj-attributes", "name"),
    "mj-font": _element("mj-head", "name href"),
    "mj-breakpoint": _element("mj-head", "width"),
    "mj-style": _element("mj-head", "inline"),
    "mj-raw": _element(
        "mj-head mj-body mj-wrapper mj-section mj-group mj-column mj-hero mj-navbar "
        "mj-social mj-accordion mj-accordion-element mj-carousel",
        "position",
    ),
    "mj-wrapper": _element(
        "mj-body", _PADDING, _BORDER, _BACKGROUND, "full-width text-align gap"
    ),
    "mj-section": _element(
        _TOP, _PADDING, _BORDER, _BACKGROUND, "full-width text-align direction"
    ),
    "mj-group": _element(
        "mj-section", "background-color direction vertical-align width"
    ),
    "mj-column": _element(
        "mj-section mj-group", _PADDING, _BORDER, _INNER_BORDER,
        "background-color inner-background-color direction vertical-align width",
    ),
    "mj-hero": _element(
        _TOP, _PADDING, _BACKGROUND,
        "background-height background-width height mode vertical-align width "
        "border-radius inner-background-color inner-padding container-background-color",
    ),
    "mj-text": _element(_COLUMNS, _CHILD, _FONT, "height"),
    "mj-button": _element(
        _COLUMNS, _CHILD, _FONT, _BORDER, _INNER,
        "background-color height href name rel target text-align title "
        "vertical-align width",
    ),
    "mj-image": _element(
        _COLUMNS, _CHILD, _BORDER,
        "alt fluid-on-mobile font-size height href max-height name rel sizes src "
        "srcset target title usemap width",
    ),
    "mj-divider": _element(
        _COLUMNS, _CHILD, "border-color border-style border-width width"
    ),
    "mj-spacer": _element(_COLUMNS, _CHILD, "height"),
    "mj-table": _element(
        _COLUMNS, _CHILD, _FONT,
        "border cellpadding cellspacing role table-layout width",
    ),
    "mj-social": _element(
        _COLUMNS, _CHILD, _FONT, _INNER,
        "border-radius icon-height icon-padding icon-size mode table-layout "
        "text-padding",
    ),
    "mj-social-element": _element(
        "mj-social", _FONT, _PADDING,
        "align alt background-color border-radius href icon-height icon-padding "
        "icon-position icon-size name rel sizes src srcset target text-padding title "
        "vertical-align",
    ),
    "mj-navbar": _element(_COLUMNS, _CHILD, "base-url hamburger ico-align ico-close "
                          "ico-color ico-font-family ico-font-size ico-line-height "
                          "ico-open ico-padding ico-text-decoration "
                          "ico-text-transform"),
    "mj-navbar-link": _element(
        "mj-navbar", _FONT, _PADDING, "href name rel target"
    ),
    "mj-accordion": _element(
        _COLUMNS, _CHILD,
        "border font-family icon-align icon-height icon-position icon-unwrapped-alt "
        "icon-unwrapped-url icon-width icon-wrapped-alt icon-wrapped-url",
    ),
    "mj-accordion-element": _element(
        "mj-accordion",
        "background-color border font-family icon-align icon-height icon-position "
        "icon-unwrapped-alt icon-unwrapped-url icon-width icon-wrapped-alt "
        "icon-wrapped-url",
    ),
    "mj-accordion-title": _element(
        "mj-accordion-element", _FONT, _PADDING, "background-color"
    ),
    "mj-accordion-text": _element(
        "mj-accordion-element", _FONT, _PADDING, "background-color"
    ),
    "mj-carousel": _element(
        _COLUMNS, _CHILD,
        "background-color border-radius icon-width left-icon right-icon "
        "tb-border tb-border-radius tb-hover-border-color tb-selected-border-color "
        "tb-width thumbnails",
    ),
    "mj-carousel-image": _element(
        "mj-carousel",
        "alt border-radius href rel src target tb-border tb-border-radius "
        "thumbnails-src title",
    ),
}  # fmt: skip

# Elements that hold elements only.
BARE = frozenset({
    "mjml", "mj-head", "mj-attributes", "mj-body", "mj-wrapper", "mj-section",
    "mj-group", "mj-column", "mj-hero", "mj-social", "mj-navbar", "mj-accordion",
    "mj-accordion-element", "mj-carousel",
})  # fmt: skip

_EVERY = frozenset().union(*(e.attributes for e in ELEMENTS.values()))
for _name in ("mj-all", "mj-class"):  # defaults for the elements that have them
    ELEMENTS[_name] = Element(
        parents=ELEMENTS[_name].parents, attributes=_EVERY | ELEMENTS[_name].attributes
    )


def nearest(name: str, among: Iterable[str] | None = None) -> str:
    """Return what was probably meant, as the end of a sentence; empty when unknown."""
    if name == "mj-include":
        return ': write {% include "layouts/…" %}'
    close = difflib.get_close_matches(name, list(among or ELEMENTS), n=1)
    return f"; did you mean {close[0]}?" if close else ""
