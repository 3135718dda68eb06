from hypothesis import given
from hypothesis import strategies as st

from mailer.core.duplicate import Seen


@given(st.lists(st.sets(st.integers(0, 60).map(str), max_size=20)))
def test_who_was_seen_is_what_a_set_would_say(batches: list[set[str]]) -> None:
    seen = Seen()
    before: set[str] = set()

    for batch in batches:
        addresses = sorted(batch)
        known = seen.add(addresses)
        assert known == [address in before for address in addresses]
        before |= batch
