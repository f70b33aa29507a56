"""`make bench-kgs` measures what it says, in its own section of the document."""

import re

from tests.bench import kgs as bench


def test_a_small_run_fills_its_section_and_leaves_the_rest(tmp_path, monkeypatch):
    """Size, seconds, ratio and peak memory of a run, beside the words of others."""
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Benchmarks\n\nBefore.\n\n{bench.BEGIN}old\n{bench.END}\nAfter.\n")
    monkeypatch.setattr("sys.argv", ["bench", "--count", "1000000", "--output", str(document)])
    monkeypatch.setattr(bench, "LEASE_SECONDS", 0.2)

    bench.main()

    text = document.read_text()
    assert text.startswith("# Benchmarks\n\nBefore.\n\n")
    assert text.endswith("\nAfter.\n")
    assert "old" not in text
    assert "| 1,000,192 keys | |" in text
    peaks = [int(peak) for peak in re.findall(r"peak memory of `\w+` \| (\d+) MiB", text)]
    assert len(peaks) == 2
    assert 0 < min(peaks) and max(peaks) <= 256


def test_a_document_without_the_section_gets_one_at_the_end(tmp_path):
    """A document that others began, or that is not there yet."""
    for before in ("# Benchmarks\n\nOther figures.\n", None):
        document = tmp_path / "benchmarks.md"
        document.unlink(missing_ok=True)
        if before is not None:
            document.write_text(before)

        bench.replace_section(document, "one\n")
        bench.replace_section(document, "two\n")

        head = before or "# Benchmarks\n"
        assert document.read_text() == f"{head}\n{bench.BEGIN}two\n{bench.END}"
