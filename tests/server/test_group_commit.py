"""Many callers, one statement: nobody waits without need, and a bad row fails alone."""

import asyncio

import psycopg2
import pytest

from server import group_commit
from server.database import Unavailable
from server.group_commit import GroupCommit

pytestmark = pytest.mark.gen_test


class Statements:
    """A database's part: remembers its groups, refuses "bad" ones, and answers when it is let."""

    def __init__(self):
        self.groups = []
        self.open = asyncio.Event()
        self.open.set()

    async def commit(self, group):
        self.groups.append(list(group))
        await self.open.wait()
        if "bad" in group:
            raise psycopg2.errors.CheckViolation("bad")
        return [f"{member} done" for member in group]


async def settled(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_caller_that_comes_alone_is_served_at_once():
    """Nothing is waited for when nobody else is there."""
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)

    assert await group.submit("a") == "a done"
    assert statements.groups == [["a"]]


async def test_those_who_come_meanwhile_share_the_next_statement():
    """While one statement is under way the next ones gather, and each gets its own answer."""
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)
    statements.open.clear()
    first = group.submit("a")
    await settled()
    others = [group.submit(name) for name in "bcd"]
    await settled()
    statements.open.set()

    assert await asyncio.gather(first, *others) == ["a done", "b done", "c done", "d done"]
    assert statements.groups == [["a"], ["b", "c", "d"]]


async def test_a_group_has_no_more_members_than_its_results_allow():
    """Where each result may be large, fewer go together."""
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5, most=2)

    await asyncio.gather(*map(group.submit, "abcde"))

    assert [len(members) for members in statements.groups] == [2, 2, 1]


async def test_a_group_has_at_most_so_many_members(monkeypatch):
    """More than that go into the next one."""
    monkeypatch.setattr(group_commit, "MAX_MEMBERS", 3)
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)

    await asyncio.gather(*(group.submit(n) for n in range(7)))

    assert [len(members) for members in statements.groups] == [3, 3, 1]


async def test_a_group_leaves_some_for_the_next_one(monkeypatch):
    """Half of those who wait, unless they are few: answers go out while the others are written."""
    monkeypatch.setattr(group_commit, "FEW", 3)
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)

    await asyncio.gather(*(group.submit(n) for n in range(20)))

    assert [len(members) for members in statements.groups] == [10, 5, 3, 2]


async def test_lanes_go_side_by_side(monkeypatch):
    """Those for whom the first group has no place need not wait for it."""
    monkeypatch.setattr(group_commit, "FEW", 3)
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=2, patience=5)
    statements.open.clear()
    everybody = [group.submit(n) for n in range(20)]
    await settled()

    assert [len(members) for members in statements.groups] == [10, 5]
    statements.open.set()
    await asyncio.gather(*everybody)
    assert [len(members) for members in statements.groups] == [10, 5, 3, 2]


async def test_a_group_has_at_most_so_many_bytes(monkeypatch):
    """A large member does not make its group larger than it may be, and is written all the same."""
    monkeypatch.setattr(group_commit, "MAX_BYTES", 10)
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)

    await asyncio.gather(*(group.submit(size, size) for size in (4, 5, 6, 50, 1)))

    assert statements.groups == [[4, 5], [6], [50], [1]]


async def test_a_bad_row_fails_alone():
    """Where the database refuses a group, each member is tried by itself."""
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)

    results = await asyncio.gather(
        group.submit("a"), group.submit("bad"), group.submit("c"), return_exceptions=True
    )

    assert [results[0], results[2]] == ["a done", "c done"]
    assert isinstance(results[1], psycopg2.errors.CheckViolation)


async def test_a_group_that_takes_too_long_does_not_hold_up_the_next():
    """Its members go on waiting for it, and others are served."""
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=0.05)
    statements.open.clear()
    stuck = group.submit("stuck")
    await settled()
    group._patience = 5  # of the other, or a slow machine would refuse it
    later = group.submit("later")
    while len(statements.groups) < 2:
        await asyncio.sleep(0)
    statements.open.set()

    assert await stuck == "stuck done"
    assert await later == "later done"


async def test_a_group_that_took_too_long_leaves_no_lane_behind():
    """Once it ends, no more groups are under way at a time than there are lanes."""
    begun, ends = [], {"stuck": asyncio.Event(), "later": asyncio.Event(), "last": asyncio.Event()}

    async def commit(group):
        begun.extend(group)
        await ends[group[0]].wait()
        return group

    group = GroupCommit(commit, lanes=1, patience=0.05)
    stuck = group.submit("stuck")
    await settled()
    group._patience = 5  # of the others, or a slow machine would refuse them
    later = group.submit("later")
    while "later" not in begun:
        await asyncio.sleep(0)
    last = group.submit("last")
    ends["stuck"].set()
    await stuck
    await settled()
    assert begun == ["stuck", "later"]
    for end in ends.values():
        end.set()

    assert [await later, await last] == ["later", "last"]


async def test_members_of_a_lane_that_is_cancelled_are_told():
    """When the loop ends, nobody waits for an answer that does not come, and no other group is begun."""
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)
    statements.open.clear()
    first = group.submit("a")
    await settled()
    group.submit("b")
    (lane,) = group._lanes
    lane.cancel()

    with pytest.raises(Unavailable, match="shutting down"):
        await first
    await settled()
    assert statements.groups == [["a"]]


async def test_who_waits_too_long_is_refused():
    """A member whose time is over is not handed to the database any more."""
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=0.05)
    statements.open.clear()
    first = group.submit("first")
    await settled()
    group._patience = -1.0
    late = group.submit("late")
    await settled()
    statements.open.set()

    assert await first == "first done"
    with pytest.raises(Unavailable, match="too slow"):
        await late
    assert ["late"] not in statements.groups


@pytest.mark.parametrize(("limit", "size"), [("MAX_WAITING", 1), ("MAX_WAITING_BYTES", 8 << 20)])
async def test_only_so_much_may_wait(monkeypatch, limit, size):
    """Beyond the bound callers are refused at once, and memory stays bounded."""
    monkeypatch.setattr(group_commit, limit, 3 * size)
    statements = Statements()
    group = GroupCommit(statements.commit, lanes=1, patience=5)
    statements.open.clear()
    waiting = [group.submit(n, size) for n in range(3)]

    with pytest.raises(Unavailable, match="waiting"):
        await group.submit("one more", size)

    statements.open.set()
    await asyncio.gather(*waiting)
    assert await group.submit("after", size) == "after done"


async def test_whatever_fails_fails_for_the_whole_group():
    """An outage reaches every member, once, and the next group is tried anew."""
    calls = []

    async def commit(group):
        calls.append(group)
        if len(calls) == 1:
            raise Unavailable("gone")
        return group

    group = GroupCommit(commit, lanes=1, patience=5)

    results = await asyncio.gather(group.submit("a"), group.submit("b"), return_exceptions=True)

    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert await group.submit("c") == "c"
