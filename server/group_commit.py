"""Many callers, one statement: while one group is being written, the next one gathers.

There is no timer: a caller that comes alone is served at once, and the busier it gets the larger
the groups become. What a group does to the database is `notes.py`'s.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar, cast

import psycopg2

from server.database import Unavailable

Member = TypeVar("Member")
Result = TypeVar("Result")

MAX_MEMBERS = 64
FEW = 16  # so many go together in any case
MAX_BYTES = 1 << 20
# What may wait in all; more is refused at once, so that memory stays bounded.
MAX_WAITING = 4096
MAX_WAITING_BYTES = 32 << 20


class _Waiting(NamedTuple, Generic[Member, Result]):
    member: Member
    size: int
    since: float
    result: asyncio.Future[Result]


class GroupCommit(Generic[Member, Result]):
    """Gathers members into groups and hands each group to `commit`."""

    def __init__(
        self,
        commit: Callable[[list[Member]], Awaitable[list[Result]]],
        lanes: int,
        patience: float,
        most: int = MAX_MEMBERS,
    ) -> None:
        """
        Args:
            commit: takes a group, gives a result for each member, in the same order. If the database
                refuses the group, `commit` is called again for each member alone.
            lanes: groups under way at the same time.
            patience: seconds after which a member that still waits is refused, and a group that is
                still under way no longer holds up the next one.
            most: members of a group, at most MAX_MEMBERS.
        """
        self._loop = asyncio.get_running_loop()  # to ask for it takes a system call each time
        self._commit = commit
        self._patience = patience
        self._most_lanes = lanes
        self._most = min(most, MAX_MEMBERS)
        self._lanes: set[asyncio.Task[None]] = set()  # but for those whose group has taken too long
        self._tasks: set[asyncio.Task[None]] = set()  # all of them: the loop itself keeps no strong reference
        self._opening = False  # a lane has not begun yet: it does in the next round of the loop
        self._waiting: collections.deque[_Waiting[Member, Result]] = collections.deque()
        self._waiting_bytes = 0

    def submit(self, member: Member, size: int = 0) -> asyncio.Future[Result]:
        """Let a group take `member`; give what will have become of it.

        Args:
            size: bytes that the member adds to its group's statement.

        Raises:
            Unavailable: too many wait. In the future also: it took too long, or the database is not there.
            psycopg2.Error: in the future: the database refused this member.
        """
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise Unavailable("more is waiting for the database than it can take")
        result: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append(_Waiting(member, size, time.monotonic(), result))
        self._waiting_bytes += size
        self._open_lane()
        return result

    def _open_lane(self) -> None:
        """Another lane, where somebody waits and there may be one, for all who come in this round of the loop."""
        if self._waiting and not self._opening and len(self._lanes) < self._most_lanes:
            self._opening = True
            lane = self._loop.create_task(self._lane())
            self._lanes.add(lane)
            self._tasks.add(lane)
            lane.add_done_callback(self._tasks.discard)

    async def _lane(self) -> None:
        """Settle one group after another, until nobody waits or one has taken too long."""
        self._opening = False
        lane = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            while lane in self._lanes and (group := self._next_group()):
                self._open_lane()
                timer = self._loop.call_later(self._patience, self._overtake, lane)
                try:
                    await self._settle(group)
                finally:
                    timer.cancel()
        finally:
            self._lanes.discard(lane)

    def _overtake(self, lane: asyncio.Task[None]) -> None:
        """Let others go on: once its group is settled, this lane ends."""
        self._lanes.discard(lane)
        self._open_lane()

    def _next_group(self) -> list[_Waiting[Member, Result]]:
        group: list[_Waiting[Member, Result]] = []
        size = 0
        oldest = time.monotonic() - self._patience
        # Not all of them, or the server would have nothing to do while the database has everything.
        most = min(self._most, max(FEW, len(self._waiting) // 2))
        while self._waiting and len(group) < most:
            if group and size + self._waiting[0].size > MAX_BYTES:
                break
            waiting = self._waiting.popleft()
            self._waiting_bytes -= waiting.size
            if waiting.since < oldest:
                _fail(waiting, Unavailable("the database is too slow"))
            elif not waiting.result.done():
                group.append(waiting)
                size += waiting.size
        return group

    async def _settle(self, group: list[_Waiting[Member, Result]]) -> None:
        try:
            results = await self._commit([waiting.member for waiting in group])
        except psycopg2.Error as refusal:
            if len(group) == 1:
                return _fail(group[0], refusal)
            for waiting in group:  # one bad row fails alone
                if time.monotonic() > waiting.since + 2 * self._patience:
                    _fail(waiting, Unavailable("the database is too slow"))
                else:
                    await self._settle([waiting])
        except BaseException as error:
            for waiting in group:
                _fail(waiting, error if isinstance(error, Exception) else Unavailable("shutting down"))
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, result in zip(group, results, strict=True):
                if not waiting.result.done():
                    waiting.result.set_result(result)


def _fail(waiting: _Waiting[Member, Result], error: Exception) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
