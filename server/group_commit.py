"""Many callers, one statement: while the database writes one group, the next one gathers.

There is no timer: a single caller is served at once, and groups grow with the load. `notes.py` says
what a group does in the database.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar, cast

import psycopg2

from server.database import Unavailable

Member = TypeVar("Member")
Result = TypeVar("Result")

MAX_MEMBERS = 64
SMALL_GROUP = 16  # members that are never divided: a group takes half the queue, but at least this many
MAX_BYTES = 1 << 20
# Of the whole queue. Further members are refused at once, so that memory stays bounded.
MAX_QUEUED = 4096
MAX_QUEUED_BYTES = 32 << 20


class NotSent(Unavailable):
    """The member was refused before any statement with it was sent to the database."""


class _Submission(NamedTuple, Generic[Member, Result]):
    member: Member
    size: int
    submitted_at: float
    result: asyncio.Future[Result]


class GroupCommit(Generic[Member, Result]):
    """Gathers members into groups and hands each group to `commit`."""

    def __init__(
        self,
        commit: Callable[[list[Member]], Awaitable[list[Result]]],
        workers: int,
        max_wait: float,
        max_members: int = MAX_MEMBERS,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """
        Args:
            commit: takes a group and returns a result for each member, in the same order. If the
                database refuses the group, `commit` is called again for each member by itself.
            workers: groups that may be with the database at the same time.
            max_wait: seconds. After them, a member that is still in the queue is refused, and another worker
                replaces one whose group is not done.
            max_members: of a group; at most MAX_MEMBERS.
            loop: its clock and timers measure `max_wait`; the running loop if it is None.
        """
        self._loop = loop or asyncio.get_running_loop()  # looking it up each time takes a system call
        self._commit = commit
        self._max_workers = workers
        self._max_wait = max_wait
        self._max_members = min(max_members, MAX_MEMBERS)
        self._workers: set[asyncio.Task[None]] = set()  # without those whose group takes too long
        self._tasks: set[asyncio.Task[None]] = set()  # of all workers: the loop keeps no strong reference
        self._starting = False  # a worker was created and begins in the next turn of the loop
        self._queue: collections.deque[_Submission[Member, Result]] = collections.deque()
        self._queued_bytes = 0

    def submit(self, member: Member, size: int = 0) -> asyncio.Future[Result]:
        """Add `member` to the queue; the future gives its result.

        Args:
            size: bytes that the member adds to its group's statement.

        Raises:
            NotSent: the queue is full. In the future: the member waited too long, or the database
                cannot be reached.
            psycopg2.Error: in the future: the database refused this member.
        """
        if len(self._queue) >= MAX_QUEUED or self._queued_bytes + size > MAX_QUEUED_BYTES:
            raise NotSent("the queue for the database is full")
        result: asyncio.Future[Result] = self._loop.create_future()
        self._queue.append(_Submission(member, size, self._loop.time(), result))
        self._queued_bytes += size
        self._start_worker()
        return result

    def _start_worker(self) -> None:
        """Start another worker if members wait and the limit allows it; once per turn of the loop."""
        if self._queue and not self._starting and len(self._workers) < self._max_workers:
            self._starting = True
            worker = self._loop.create_task(self._work())
            self._workers.add(worker)
            self._tasks.add(worker)
            worker.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Settle one group after another, until the queue is empty or a group takes too long."""
        self._starting = False
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            while worker in self._workers and (group := self._next_group()):
                self._start_worker()
                timer = self._loop.call_later(self._max_wait, self._replace, worker)
                try:
                    await self._settle(group)
                finally:
                    timer.cancel()
        finally:
            self._workers.discard(worker)

    def _replace(self, worker: asyncio.Task[None]) -> None:
        """Let another worker take over from one whose group takes too long; that one ends with its group."""
        self._workers.discard(worker)
        self._start_worker()

    def _next_group(self) -> list[_Submission[Member, Result]]:
        group: list[_Submission[Member, Result]] = []
        size = 0
        oldest = self._loop.time() - self._max_wait
        # Not the whole queue: the server would have nothing to do while the database works on all of it.
        members = min(self._max_members, max(SMALL_GROUP, len(self._queue) // 2))
        while self._queue and len(group) < members:
            if group and size + self._queue[0].size > MAX_BYTES:
                break
            submission = self._queue.popleft()
            self._queued_bytes -= submission.size
            if submission.submitted_at < oldest:
                _fail(submission, NotSent("the database is too slow"))
            elif not submission.result.done():
                group.append(submission)
                size += submission.size
        return group

    async def _settle(self, group: list[_Submission[Member, Result]]) -> None:
        try:
            results = await self._commit([submission.member for submission in group])
        except psycopg2.Error as refusal:
            if len(group) == 1:
                return _fail(group[0], refusal)
            for submission in group:  # so that one bad row fails alone
                if self._loop.time() > submission.submitted_at + 2 * self._max_wait:
                    _fail(submission, Unavailable("the database is too slow"))
                else:
                    await self._settle([submission])
        except BaseException as error:
            for submission in group:
                _fail(submission, error if isinstance(error, Exception) else Unavailable("shutting down"))
            if not isinstance(error, Exception):
                raise
        else:
            for submission, result in zip(group, results, strict=True):
                if not submission.result.done():
                    submission.result.set_result(result)


def _fail(submission: _Submission[Member, Result], error: Exception) -> None:
    if not submission.result.done():
        submission.result.set_exception(error)
