"""docs/operating.md can be followed: `make walk-through` runs it; here, no block of it is forgotten."""

import subprocess

from tests.deploy import walk_through


def test_each_block_is_run_or_has_a_reason():
    """Every block of the page begins with words that the walk knows, and the walk knows no others."""
    known = [*walk_through.RUN, *walk_through.SKIPPED]
    begun = [[words for words in known if block.strip().startswith(words)] for block in walk_through.blocks()]

    assert [block for block, words in zip(walk_through.blocks(), begun, strict=True) if len(words) != 1] == []
    assert {words for (words,) in begun} == set(known)


def test_the_walk_is_a_shell_script():
    """What is made of the page's blocks is a script that a shell can read."""
    text = walk_through.script(walk_through.commands())

    assert subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True).stderr == ""
    assert "…" not in text
