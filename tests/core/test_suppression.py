import pytest

from mailer import errors
from mailer.core import suppression
from mailer.core.suppression import Reason, outranks


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (" Ada@Example.org", "ada@example.org"),
        ("@Example.ORG", "@example.org"),
        ("@bücher.example", "@xn--bcher-kva.example"),
        ("ada+news@example.org", "ada+news@example.org"),
    ],
)
def test_an_entry_is_found_however_it_is_spelt(text: str, key: str) -> None:
    assert suppression.key(text) == key


@pytest.mark.parametrize("text", ["", "@", "example.org", "@localhost", "@a@b.org"])
def test_what_is_neither_address_nor_domain_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid):
        suppression.key(text)


def test_only_a_stronger_reason_replaces_another() -> None:
    order = [
        Reason.COMPLAINT,
        Reason.UNSUBSCRIBE,
        Reason.MANUAL,
        Reason.BOUNCE,
        Reason.IMPORT,
    ]

    for place, reason in enumerate(order):
        assert [outranks(reason, old) for old in order] == [
            place < other for other in range(len(order))
        ]


def test_only_the_person_takes_back_what_the_person_said() -> None:
    assert {reason for reason in Reason if reason.needs_confirmation} == {
        Reason.COMPLAINT,
        Reason.UNSUBSCRIBE,
    }
