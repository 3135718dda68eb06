from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mailer.core.delivery import BlastId, State
from mailer.pipeline.sending import journal
from mailer.store.deliveries import Result

NOON = datetime(2026, 12, 31, 12, tzinfo=UTC)

results = st.builds(
    Result,
    seq=st.integers(1, 2**31 - 1),
    state=st.sampled_from([State.SENT, State.BOUNCED, State.DEFERRED, State.IN_DOUBT]),
    attempts=st.integers(1, 60_000),
    at=st.just(NOON),
    code=st.one_of(st.none(), st.integers(200, 599)),
    reply=st.one_of(st.none(), st.text(min_size=1, max_size=80)),
)


@given(st.integers(1, 2**63), results)
def test_what_was_written_is_read(blast: int, result: Result) -> None:
    ended = journal.Ended(BlastId(blast), result)
    found = journal.read(journal.write_ended(ended))

    surrogates = any("\ud800" <= c <= "\udfff" for c in result.reply or "")
    assert surrogates or found == ended


@given(st.lists(results, max_size=20, unique_by=lambda one: one.seq), st.data())
def test_any_prefix_tells_what_was_answered_and_what_is_in_doubt(
    outcomes: list[Result], data: st.DataObject
) -> None:
    blast = BlastId(1)
    records = []
    for one in outcomes:
        started = journal.Started(blast, one.seq, one.attempts, one.at)
        records += [
            journal.write_started(started),
            journal.write_ended(journal.Ended(blast, one)),
        ]
    cut = data.draw(st.integers(0, len(records)))

    replayed = journal.replay(records[:cut])

    answered = outcomes[: cut // 2]
    assert [one.result.seq for one in replayed if one.result in answered] == [
        one.seq for one in answered
    ]
    doubts = [one.result for one in replayed if one.result not in answered]
    assert [(one.seq, one.state) for one in doubts] == (
        [(outcomes[cut // 2].seq, State.IN_DOUBT)] if cut % 2 else []
    )


def test_an_attempt_that_was_answered_does_not_settle_the_next_one() -> None:
    blast = BlastId(7)
    deferred = Result(seq=3, state=State.DEFERRED, attempts=1, at=NOON, code=451)
    records = [
        journal.write_started(journal.Started(blast, 3, 1, NOON)),
        journal.write_ended(journal.Ended(blast, deferred)),
        journal.write_started(journal.Started(blast, 3, 2, NOON)),
    ]

    replayed = journal.replay(records)

    assert [(one.result.state, one.result.attempts) for one in replayed] == [
        (State.DEFERRED, 1),
        (State.IN_DOUBT, 2),
    ]


def test_what_is_known_not_to_have_been_taken_is_no_doubt() -> None:
    throttled = journal.Started(BlastId(7), 3, 1, NOON)
    records = [journal.write_started(throttled), journal.write_untaken(throttled)]

    assert journal.replay(records) == []
    again = journal.replay([*records, journal.write_started(throttled)])
    assert [one.result.state for one in again] == [State.IN_DOUBT]
