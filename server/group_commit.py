"""Many callers, one statement: while one group is being written, the next one gathers.

There is no timer: a caller that comes alone is served at once, and the busier it gets the larger
the groups become. What a group does to the database is `notes.py`'s.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

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
        self._lanes = lanes
        self._most = min(most, MAX_MEMBERS)
        self._occupied: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        self._waiting: collections.deque[_Waiting[Member, Result]] = collections.deque()
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._beginning = False  # in this round of the loop, after all who come in it

    async def submit(self, member: Member, size: int = 0) -> Result:
        """Wait for a group to take `member` and for what became of it.

        Args:
            size: bytes that the member adds to its group's statement.

        Raises:
            Unavailable: too many wait, it took too long, or the database is not there.
            psycopg2.Error: the database refused this member.
        """
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise Unavailable("more is waiting for the database than it can take")
        result: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append(_Waiting(member, size, time.monotonic(), result))
        self._waiting_bytes += size
        if len(self._occupied) < self._lanes and not self._beginning:
            self._beginning = True
            self._loop.call_soon(self._begin)
        return await result

    def _begin(self) -> None:
        """Let each free lane take a group."""
        self._beginning = False
        while len(self._occupied) < self._lanes and (group := self._next_group()):
            task = self._loop.create_task(self._settle(group))
            self._tasks.add(task)  # the loop itself keeps no strong reference
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(self._free)
            self._occupied[task] = self._loop.call_later(self._patience, self._free, task)

    def _free(self, task: asyncio.Task[None]) -> None:
        """The lane of this group is free: it is settled, or has taken too long to hold up others."""
        timer = self._occupied.pop(task, None)
        if timer is not None:
            timer.cancel()
            self._begin()

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
        else:
            for waiting, result in zip(group, results, strict=True):
                if not waiting.result.done():
                    waiting.result.set_result(result)


def _fail(waiting: _Waiting[Member, Result], error: Exception) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
