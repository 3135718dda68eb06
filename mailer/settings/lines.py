"""On which line of a TOML file each key stands: tomllib does not tell.

The text was read by tomllib before, so it is valid: this reader is lenient.
Keys are those of `errors.key`: ``all[2].field``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r]+|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<text>\"\"\"(?:\\.|[^\\])*?\"{3,5}|'''.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
  | (?P<mark>[\[\]{}=,.])
  | (?P<word>[^\s\[\]{}=,.\#"']+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LAST_STEP = re.compile(r"(\.[^.\[\]]*|\[\d+\])$")


def find(lines: Mapping[str, int], key: str | None) -> int | None:
    """Return the line of *key*, else that of the nearest key around it."""
    key = key or ""
    while key:
        if key in lines:
            return lines[key]
        shorter = _LAST_STEP.sub("", key)
        key = shorter if shorter != key else ""
    return None


def locate(text: str) -> dict[str, int]:
    """Return the line of each key, table and list item of a valid TOML *text*."""
    return _Reader(text).read()


class _Reader:
    """A place in the text, and what was found up to there."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        line = 1
        for match in _TOKEN.finditer(text):
            if match.lastgroup != "blank":
                self.tokens.append((match.lastgroup or "", match[0], line))
            line += match[0].count("\n")
        self.tokens.append(("end", "", line))
        self.at = 0
        self.found: dict[str, int] = {}
        self.counts: dict[str, int] = {}  # of the lists made by [[headers]]

    @property
    def mark(self) -> str:
        """Return the punctuation here, or nothing when here is a value."""
        kind, text, _ = self.tokens[self.at]
        return text if kind in {"mark", "newline"} else ""

    @property
    def is_over(self) -> bool:
        return self.tokens[self.at][0] == "end"

    def read(self) -> dict[str, int]:
        prefix = ""
        while not self.is_over:
            if self.mark == "\n":
                self.at += 1
            elif self.mark == "[":
                prefix = self.header()
            else:
                self.pair(prefix)
        return self.found

    def header(self) -> str:
        """Read ``[a.b]`` or ``[[a.b]]`` and return the key that it opens."""
        line = self.tokens[self.at][2]
        is_list = self.tokens[self.at + 1][1] == "["
        self.at += 2 if is_list else 1
        prefix = ""
        steps = self.steps()
        for number, step in enumerate(steps, 1):
            prefix = f"{prefix}.{step}" if prefix else step
            self.found.setdefault(prefix, line)
            if is_list and number == len(steps):
                self.counts[prefix] = self.counts.get(prefix, 0) + 1
            if prefix in self.counts:
                prefix += f"[{self.counts[prefix]}]"
        self.found[prefix] = line
        while not self.is_over and self.mark != "\n":
            self.at += 1
        return prefix

    def steps(self) -> list[str]:
        """Read a dotted key."""
        steps: list[str] = []
        while not self.is_over and self.mark in {"", "."}:
            kind, text, _ = self.tokens[self.at]
            if kind != "mark":
                steps.append(text[1:-1] if kind == "text" else text)
            self.at += 1
        return steps

    def pair(self, prefix: str) -> None:
        """Read ``key = value``."""
        line = self.tokens[self.at][2]
        for step in self.steps():
            prefix = f"{prefix}.{step}" if prefix else step
            self.found.setdefault(prefix, line)
        if self.mark == "=":
            self.at += 1
        self.value(prefix)

    def value(self, key: str) -> None:
        if self.mark == "[":
            self.items(key)
        elif self.mark == "{":
            self.at += 1
            while not self.is_over and self.mark != "}":
                if self.mark in {",", "\n"}:
                    self.at += 1
                else:
                    self.pair(key)
            self.at += 1
        else:
            while not self.is_over and self.mark not in {",", "\n", "]", "}"}:
                self.at += 1

    def items(self, key: str) -> None:
        """Read a list, which may go over many lines."""
        self.at += 1
        number = 1
        while not self.is_over and self.mark != "]":
            if self.mark in {",", "\n"}:
                self.at += 1
                continue
            self.found[f"{key}[{number}]"] = self.tokens[self.at][2]
            self.value(f"{key}[{number}]")
            number += 1
        self.at += 1
