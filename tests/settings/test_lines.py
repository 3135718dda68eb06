from mailer.settings import lines

TEXT = '''\
# a comment with = and [x]
a = 1
"b c" = "# no comment"
d.e = """
two
lines"""
list = [
  1,
  { field = "x", in = [
    "y",
    "z",
  ] },  # said
  { not = { opened = {} } },
]

[table]
f = 'it''s' # not closed here
[table.under]
g = 2026-12-31T23:59:59-05:00
[[arm]]
name = "one"
[[arm]]
name = "two"
[arm.more]
h = -1.5e3
'''


def test_each_key_has_its_line() -> None:
    found = lines.locate(TEXT.replace("'it''s'", "'its'"))
    assert found == {
        "a": 2,
        "b c": 3,
        "d": 4,
        "d.e": 4,
        "list": 7,
        "list[1]": 8,
        "list[2]": 9,
        "list[2].field": 9,
        "list[2].in": 9,
        "list[2].in[1]": 10,
        "list[2].in[2]": 11,
        "list[3]": 13,
        "list[3].not": 13,
        "list[3].not.opened": 13,
        "table": 16,
        "table.f": 17,
        "table.under": 18,
        "table.under.g": 19,
        "arm": 20,
        "arm[1]": 20,
        "arm[1].name": 21,
        "arm[2]": 22,
        "arm[2].name": 23,
        "arm[2].more": 24,
        "arm[2].more.h": 25,
    }


def test_a_key_that_is_missing_has_the_line_of_what_should_hold_it() -> None:
    found = {"arm": 1, "arm[2]": 5}
    assert lines.find(found, "arm[2].name") == 5
    assert lines.find(found, "arm[3].name.first") == 1
    assert lines.find(found, "other") is None
    assert lines.find(found, None) is None
