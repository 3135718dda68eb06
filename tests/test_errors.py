from mailer import errors


def test_a_problem_says_where_what_and_what_would_be_right() -> None:
    problem = errors.Problem(
        file="a.toml", line=3, key="x.y", message='"z": write a number'
    )
    assert str(problem) == 'a.toml:3: x.y: "z": write a number'
    assert str(errors.Problem(message="wrong")) == "wrong"


def test_invalid_holds_every_problem() -> None:
    one, two = errors.Problem(message="one"), errors.Problem(message="two")
    error = errors.Invalid([one, two])
    assert error.problems == (one, two)
    assert str(error) == "one\ntwo"
    assert errors.Invalid("one").problems == (one,)


def test_a_path_is_written_as_one_key_counting_from_one() -> None:
    assert errors.key(("all", 1, "donated", "count")) == "all[2].donated.count"


def test_the_nearest_right_word_is_named() -> None:
    assert errors.nearest("stat", ["state", "city"]) == 'did you mean "state"?'
    assert errors.nearest("zzz", ["state", "city"]) == "write one of city, state"
    assert errors.nearest("zzz", []) == "leave it out"


def test_a_wrong_value_is_shown_as_in_a_file_and_shortened() -> None:
    values: list[object] = [True, "x", {}, [], 3, "y" * 100]
    shown = [errors.quote(one) for one in values]
    assert shown == ["true", '"x"', "a table", "a list", "3", f'"{"y" * 59}…"']
