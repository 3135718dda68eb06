from mailer.store import database


def test_named_parameters_become_numbered() -> None:
    found = database.query("x", "SELECT ':no', :a::text, :b, :a -- :c")
    assert found.sql == "SELECT ':no', $1::text, $2, $1 -- :c"
    assert found.names == ("a", "b")
