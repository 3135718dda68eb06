"""Single messages over a session: who hands one in waits for its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mailer import errors
from mailer.core.bounce import Lost
from mailer.core.delivery import Stage
from mailer.mail.parcel import End, Parcel


class Post(Parcel):
    """A message of `Session.send`, and who waits for its end."""

    __slots__ = ("_waiter", "before_body", "desk", "ending", "error", "is_begun")

    def __init__(
        self, parcel: Parcel, before_body: Callable[[], None], desk: Desk
    ) -> None:
        super().__init__(parcel.commands, parcel.data)
        self.before_body = before_body
        self.desk = desk
        self.is_begun = False
        self.error: Exception | None = None
        self.ending: End | None = None
        self._waiter = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """Have `answer` look again."""
        if not self._waiter.done():
            self._waiter.set_result(None)

    async def answer(self) -> End:
        """Wait for the end; from the dot on a cancel is kept until it is known."""
        task = None
        while self.ending is None:
            try:
                await self._waiter
            except asyncio.CancelledError:
                if not self.is_begun:
                    self.desk.withdraw(self)
                    raise
                task = asyncio.current_task()
                self._waiter = asyncio.get_running_loop().create_future()
        if task is not None:
            task.uncancel()
            task.cancel()  # delivered at the caller's next await
        if self.error is not None:
            raise self.error
        return self.ending


class Desk:
    """The cargo of `Session.send`: one after the other, as they come."""

    def __init__(self) -> None:
        self._queue: deque[Post] = deque()

    def take(self, parcel: Parcel, before_body: Callable[[], None]) -> Post:
        """Queue *parcel*."""
        post = Post(parcel, before_body, self)
        self._queue.append(post)
        return post

    def withdraw(self, post: Post) -> None:
        """Keep a parcel from being sent whose body is not written."""
        post.before_body = _withdrawn
        if post in self._queue:
            self._queue.remove(post)

    def next(self) -> Parcel | None:
        """Return who waits for longest."""
        return self._queue.popleft() if self._queue else None

    def begin(self, parcel: Parcel) -> None:
        """Ask who sends it."""
        assert isinstance(parcel, Post)
        try:
            parcel.before_body()
        except Exception as error:
            parcel.error = error
            raise
        parcel.is_begun = True

    def end(self, parcel: Parcel, end: End) -> None:
        """Wake who waits."""
        assert isinstance(parcel, Post)
        parcel.ending = end
        parcel.wake()

    def closed(self, reason: str) -> None:
        """End all that were not begun."""
        while self._queue:
            self.end(self._queue.popleft(), Lost(stage=Stage.CONNECT, reason=reason))


def _withdrawn() -> None:
    message = "its sender was cancelled"
    raise errors.Conflict(message)
