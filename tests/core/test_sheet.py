import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.core import sheet


def read(data: bytes, *, encoding: str = "utf-8") -> list[tuple[int, list[str]]]:
    """Check and read a file as an import does."""
    sheet.check(io.BytesIO(data).read, file="people.csv", encoding=encoding)
    lines = io.BytesIO(data).readline
    return list(sheet.records(lines, file="people.csv", encoding=encoding))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        pytest.param("email,city\nada@x.test,Köln\n".encode(), "utf-8", id="utf-8"),
        pytest.param("\ufeffemail,city\nada@x.test,Köln\n".encode(), "utf-8", id="bom"),
        pytest.param(
            "\ufeffemail,city\nada@x.test,Köln\n".encode(), "utf-8-sig", id="sig"
        ),
        pytest.param(
            "email,city\r\nada@x.test,Köln".encode("cp1252"), "cp1252", id="cp1252"
        ),
        pytest.param(
            "email;city\n\nada@x.test;Köln\n\n".encode(), "utf-8", id="semicolon"
        ),
        pytest.param("email\tcity\nada@x.test\tKöln".encode(), "utf-8", id="tab"),
        pytest.param(
            '"email","city"\n"ada@x.test","Köln"\n'.encode(), "utf-8", id="quotes"
        ),
    ],
)
def test_a_file_is_read(data: bytes, encoding: str) -> None:
    header, *rows = [row for _, row in read(data, encoding=encoding)]

    assert header == ["email", "city"]
    assert rows == [["ada@x.test", "Köln"]]


def test_rows_know_the_line_that_they_begin_on() -> None:
    data = b'email,note\na@x.test,"two\nlines"\n\nb@x.test,"say ""hi"""\n'

    assert read(data) == [
        (1, ["email", "note"]),
        (2, ["a@x.test", "two\nlines"]),
        (5, ["b@x.test", 'say "hi"']),
    ]


ROWS = b"".join(b"p%d@x.test,Town\n" % number for number in range(3, 1000))

REFUSED = {
    "an unclosed quote": (
        b'email,city\na@x.test,"Town\n' + ROWS,
        "people.csv:2: a quote that this row opens is not closed",
    ),
    "an unclosed quote in a long file": (
        b'email,city\na@x.test,"Town\n' + ROWS * 20,
        "people.csv:2: a quote that this row opens is not closed",
    ),
    "a quote inside a cell": (
        b'email,city\na@x.test,T\nb@x.test,"To"wn\n',
        "people.csv:3: this row is not CSV: ',' expected after '\"'",
    ),
    "a line without end": (
        b"email,city\n" + b"x" * 70_000,
        "people.csv:2: the line is longer than 65,536 bytes",
    ),
    "too many cells": (
        b"email\n" + b"," * 300,
        "people.csv:2: 301 cells: at most 256 are read",
    ),
    "another encoding": (
        "email,city\na@x.test,Town\nb@x.test,Köln\n".encode("cp1252"),
        "people.csv:3: byte 0xf6 is not utf-8: "
        "save the file as CSV UTF-8, or say --encoding cp1252",
    ),
    "a spreadsheet's Unicode text": (
        "email,city\na@x.test,Köln\n".encode("utf-16"),
        "people.csv:1: byte 0xff is not utf-8: save the file as CSV UTF-8",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_file_is_refused_with_its_line(name: str) -> None:
    data, message = REFUSED[name]

    with pytest.raises(errors.Invalid) as caught:
        read(data)

    assert str(caught.value) == message


def test_a_wrong_byte_is_found_behind_the_first_piece() -> None:
    data = b"email\n" + b"a@example.org\n" * 100_000 + b"\xe9@x.test\n"

    with pytest.raises(errors.Invalid, match=r"^people.csv:100002: byte 0xe9"):
        read(data)


def test_a_gigabyte_on_one_line_is_never_held_in_memory() -> None:
    served = 0

    def readline(size: int) -> bytes:
        nonlocal served
        served += size
        return b"x" * size

    with pytest.raises(errors.Invalid, match="longer than"):
        list(sheet.records(readline, file="people.csv"))

    assert served < 100_000


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(sheet.ENCODINGS))
def test_hostile_bytes_are_read_or_refused(data: bytes, encoding: str) -> None:
    try:
        rows = read(data, encoding=encoding)
    except errors.Invalid:
        return

    assert [line for line, _ in rows] == sorted({line for line, _ in rows})


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\0"])
def test_a_formula_is_made_harmless(first: str) -> None:
    assert sheet.harmless(f"{first}cmd|' /C calc'!A0").startswith(f"'{first}cmd")
    assert sheet.plain(sheet.harmless(f"{first}1")) == f"{first}1"


@given(st.lists(st.text(), min_size=1))
def test_a_line_of_ours_is_one_row_of_csv(values: list[str]) -> None:
    line = sheet.line(values)

    (row,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    assert row == [sheet.harmless(value) for value in values]
