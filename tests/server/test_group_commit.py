"""Many callers, one statement: no caller waits without need, and a bad row fails alone."""

import asyncio
import dataclasses
from collections.abc import Callable

import psycopg2
import pytest

from server.database import Unavailable
from server.group_commit import MAX_BYTES, MAX_MEMBERS, MAX_QUEUED, MAX_QUEUED_BYTES, SMALL_GROUP, GroupCommit

pytestmark = pytest.mark.gen_test


@dataclasses.dataclass
class Timer:
    """What the loop below calls when its clock gets there."""

    when: float
    run: Callable[[], None]
    cancelled: bool = False

    def cancel(self):
        self.cancelled = True


class Loop:
    """The running loop, whose clock stands still until a test moves it."""

    def __init__(self):
        self._loop = asyncio.get_running_loop()
        self._now = 0.0
        self._timers = []

    def __getattr__(self, name):
        return getattr(self._loop, name)

    def time(self):
        return self._now

    def call_later(self, delay, callback, *arguments):
        timer = Timer(self._now + delay, lambda: callback(*arguments))
        self._timers.append(timer)
        return timer

    def advance(self, seconds):
        self._now += seconds
        due = [timer for timer in self._timers if timer.when <= self._now and not timer.cancelled]
        self._timers = [timer for timer in self._timers if timer.when > self._now]
        for timer in due:
            timer.run()


class Gathering:
    """A GroupCommit and the database behind it, which records its groups, refuses "bad" members, and
    answers a group only while it is not held."""

    def __init__(self, workers=1, **arguments):
        self.loop = Loop()
        self.groups = []
        self._held = {}
        self._holds = False
        self._group_commit = GroupCommit(self._commit, workers, max_wait=5, loop=self.loop, **arguments)
        self.submit = self._group_commit.submit

    async def _commit(self, group):
        self.groups.append(list(group))
        if self._holds:
            await self._held.setdefault(group[0], asyncio.Event()).wait()
        if "bad" in group:
            raise psycopg2.errors.CheckViolation("bad")
        if "unreachable" in group:
            raise Unavailable("unreachable")
        return [f"{member} done" for member in group]

    @property
    def sizes(self):
        return [len(group) for group in self.groups]

    def hold(self):
        """Answer no group from now on."""
        self._holds = True

    def answer(self, *firsts):
        """Answer the held groups that begin with these members; without any, all groups, from now on."""
        self._holds = bool(firsts)
        for first in firsts or self._held:
            self._held[first].set()

    async def submit_and_hold(self, member):
        """Submit a member, whose group is then with the database."""
        self.hold()
        result = self.submit(member)
        await self.until_group_has(member)
        return result

    async def until_group_has(self, member):
        while not any(member in group for group in self.groups):
            await asyncio.sleep(0)


async def settled(count=20):
    """Everything that can happen without a held answer has happened."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_single_caller_is_served_at_once():
    """A caller does not wait for others to come."""
    gathering = Gathering()

    assert await gathering.submit("a") == "a done"
    assert gathering.groups == [["a"]]


async def test_callers_that_come_meanwhile_share_the_next_statement():
    """While the database works on one group the next one gathers, and each caller gets its own result."""
    gathering = Gathering()
    first = await gathering.submit_and_hold("a")
    others = [gathering.submit(name) for name in "bcd"]
    await settled()
    gathering.answer()

    assert await asyncio.gather(first, *others) == ["a done", "b done", "c done", "d done"]
    assert gathering.groups == [["a"], ["b", "c", "d"]]


async def test_a_group_has_no_more_members_than_its_results_allow():
    """If each result may be large, groups are smaller."""
    gathering = Gathering(max_members=2)

    await asyncio.gather(*map(gathering.submit, "abcde"))

    assert gathering.sizes == [2, 2, 1]


async def test_the_members_of_a_group_are_bounded():
    """Further members go into the next groups."""
    gathering = Gathering()

    await asyncio.gather(*map(gathering.submit, range(4 * MAX_MEMBERS)))

    assert gathering.sizes[:3] == [MAX_MEMBERS] * 3
    assert sum(gathering.sizes) == 4 * MAX_MEMBERS


async def test_a_group_takes_half_the_queue():
    """Answers go out while the rest is written; only a small group is not divided."""
    gathering = Gathering()

    await asyncio.gather(*map(gathering.submit, range(5 * SMALL_GROUP)))

    assert gathering.sizes == [40, 20, 16, 4]


async def test_workers_work_side_by_side():
    """Members that have no place in the first group need not wait for it."""
    gathering = Gathering(workers=2)
    gathering.hold()
    results = [gathering.submit(n) for n in range(5 * SMALL_GROUP)]
    await settled()

    assert gathering.sizes == [40, 20]
    gathering.answer()
    await asyncio.gather(*results)
    assert gathering.sizes == [40, 20, 16, 4]


async def test_the_bytes_of_a_group_are_bounded():
    """A large member does not make its group too large, and is written all the same."""
    gathering = Gathering()
    tenth = MAX_BYTES // 10

    await asyncio.gather(*(gathering.submit(tenths, tenths * tenth) for tenths in (4, 5, 6, 50, 1)))

    assert gathering.groups == [[4, 5], [6], [50], [1]]


async def test_a_bad_row_fails_alone():
    """If the database refuses a group, each member is tried by itself."""
    gathering = Gathering()

    results = await asyncio.gather(*map(gathering.submit, ["a", "bad", "c"]), return_exceptions=True)

    assert [results[0], results[2]] == ["a done", "c done"]
    assert isinstance(results[1], psycopg2.errors.CheckViolation)


async def test_a_group_that_takes_too_long_does_not_hold_up_the_next():
    """Its members still get their results later, and meanwhile others are served."""
    gathering = Gathering()
    slow = await gathering.submit_and_hold("slow")
    later = gathering.submit("later")
    gathering.loop.advance(5)
    await gathering.until_group_has("later")
    gathering.answer()

    assert await slow == "slow done"
    assert await later == "later done"


async def test_a_worker_that_was_replaced_ends_with_its_group():
    """No more groups are with the database at a time than there are workers."""
    gathering = Gathering()
    slow = await gathering.submit_and_hold("slow")
    gathering.loop.advance(5)
    later = gathering.submit("later")
    await gathering.until_group_has("later")
    last = gathering.submit("last")
    gathering.answer("slow")
    await slow
    await settled()

    assert gathering.groups == [["slow"], ["later"]]
    gathering.answer()
    assert [await later, await last] == ["later done", "last done"]


async def test_the_members_of_a_cancelled_worker_fail():
    """When the loop ends, no member waits for a result that cannot come, and no other group begins."""
    gathering = Gathering()
    others = asyncio.all_tasks()
    first = await gathering.submit_and_hold("a")
    gathering.submit("b")
    (worker,) = asyncio.all_tasks() - others
    worker.cancel()

    with pytest.raises(Unavailable, match="shutting down"):
        await first
    await settled()
    assert gathering.groups == [["a"]]


async def test_a_member_that_waits_too_long_is_refused():
    """The database never sees it."""
    gathering = Gathering()
    first = await gathering.submit_and_hold("first")
    late = gathering.submit("late")
    gathering.loop.advance(4)
    in_time = gathering.submit("in time")
    gathering.loop.advance(2)
    gathering.answer()

    assert await first == "first done"
    with pytest.raises(Unavailable, match="too slow"):
        await late
    assert await in_time == "in time done"
    assert ["late"] not in gathering.groups


@pytest.mark.parametrize(
    ("members", "size"), [(MAX_QUEUED, 0), (4, MAX_QUEUED_BYTES // 4)], ids=["members", "bytes"]
)
async def test_the_queue_is_bounded(members, size):
    """Further callers are refused at once, and memory stays bounded."""
    gathering = Gathering()
    waiting = [gathering.submit(n, size) for n in range(members)]

    with pytest.raises(Unavailable, match="full"):
        gathering.submit("one more", max(size, 1))

    await asyncio.gather(*waiting)
    assert await gathering.submit("after", size) == "after done"


async def test_an_outage_fails_for_the_whole_group():
    """Every member gets the error, once, and the next group is tried again."""
    gathering = Gathering()

    results = await asyncio.gather(*map(gathering.submit, ["a", "unreachable"]), return_exceptions=True)

    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert gathering.groups == [["a", "unreachable"]]
    assert await gathering.submit("c") == "c done"
