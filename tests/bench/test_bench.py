"""What makes a figure of the benchmark worth believing, and its document everybody's."""

import json
import shutil

import pytest

from server import sealing
from server.httpd.transport import Server
from tests.bench import capacity, files, plot, report, throughput, workload
from tests.bench.load import Exhausted, Job, Void, drive
from tests.bench.reference import SEALED
from tests.server.httpd.site import Site

RESULT = {
    "system": throughput.OURS,
    "kind": workload.KINDS[0],
    "connections": 64,
    "rates": [900.0, 1000.0, 1100.0],
    "rate": 1000.0,
    "p50_ms": 1.0,
    "p99_ms": 2.0,
    "server CPU µs": 100.0,
    "PostgreSQL CPU µs": 50.0,
    "resident_mib": 60.0,
}

needs_wrk = pytest.mark.skipif(
    shutil.which("wrk") is None, reason="wrk is not installed (apt-get install wrk)"
)


@needs_wrk
def test_right_answers_are_counted():
    """A run says how many answers a second there were."""
    with Site(Server) as site:
        job = Job("GET /?size=3 HTTP/1.1\r\nHost: here\r\n\r\n", "", 200, "xxx")
        assert drive(job, [("127.0.0.1", site.port)], 2, 1).rate > 0


@needs_wrk
@pytest.mark.parametrize(("status", "answer"), [(201, "xxx"), (200, "yyy")])
def test_a_wrong_answer_makes_the_run_void(status, answer):
    """Another status, or another body."""
    with Site(Server) as site:
        job = Job("GET /?size=3 HTTP/1.1\r\nHost: here\r\n\r\n", "", status, answer)
        with pytest.raises(Void):
            drive(job, [("127.0.0.1", site.port)], 2, 1)


@needs_wrk
def test_an_answer_to_somebody_else_makes_the_run_void():
    """An answer has to hold an id that was asked for."""
    with Site(Server) as site:
        job = Job(
            "GET /?size=5&id=", " HTTP/1.1\r\nHost: here\r\n\r\n", 200, "", "", True, ["abcde"] * 100_000
        )
        with pytest.raises(Void):
            drive(job, [("127.0.0.1", site.port)], 1, 1)


@needs_wrk
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (apt-get install nginx)")
def test_nginx_lets_the_benchmark_send_everything_from_one_address():
    """Its limits are off, so that they are not what is measured."""
    case = throughput.Case(throughput.NGINX, workload.KINDS[0], max(throughput.CONNECTIONS))
    (result,) = throughput.measure([case], rounds=1, seconds=1, say=print)
    assert result["rate"] > 0


@needs_wrk
def test_a_run_without_enough_notes_does_not_count():
    """Each reveal needs a note of its own."""
    with Site(Server) as site:
        job = Job("GET /?size=5&id=", " HTTP/1.1\r\nHost: here\r\n\r\n", 200, "xxxxx", ids=["abcde"])
        with pytest.raises(Exhausted):
            drive(job, [("127.0.0.1", site.port)], 1, 1)


def test_the_notes_of_the_benchmark_keep_to_the_format():
    """What a client has sealed has the format's length, and what the server opens can be opened."""
    assert sealing.is_sealed(sealing.from_text(workload.sealed_under("aB3_-")))
    assert sealing.is_token(workload.TOKEN)
    assert sealing.open_sealed(workload.KEYS, SEALED) == workload.MESSAGE


def test_keys_of_the_benchmark_are_the_same_in_sql(postgres):
    """The table holds the notes that wrk asks for."""
    import psycopg2

    from tests.bench.workload import KEY_OF, key_of

    connection = psycopg2.connect(postgres.url("postgres"))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {KEY_OF} FROM generate_series(0, 2000) AS number ORDER BY number")
        assert [key for key, in cursor.fetchall()] == [key_of(number) for number in range(2001)]
    connection.close()


def test_the_report_replaces_its_own_part_only(tmp_path):
    """What others have written into the document stays."""
    results, document = tmp_path / "results.json", tmp_path / "benchmarks.md"
    kept = {"began": "2026-01-02T03:04:05", "machine": {"cores": "2"}, "results": [RESULT]}
    results.write_text(json.dumps({"throughput": kept}))
    document.write_text("# Benchmarks\n\nbefore\n")
    report.write(results, document)
    document.write_text(document.read_text() + "after\n")
    report.write(results, document)
    text = document.read_text()
    assert text.startswith("# Benchmarks\n\nbefore\n")
    assert text.endswith("after\n")
    assert text.count("| note-whisperer | put, sealed by the client | 64 | 1,000 | 900–1,100 |") == 1


def test_what_was_asked_for_is_judged():
    """A ratio below what was asked for is said to be one."""
    empty = RESULT | {"system": throughput.EMPTY, "rates": [1000.0, 2000.0, 2000.0], "rate": 2000.0}
    assert "| 0.55 | **not reached** |" in report.throughput_tables([RESULT, empty])
    assert "| 1.00 | reached |" in report.throughput_tables([RESULT, empty | {"rates": RESULT["rates"]}])


def test_the_plot_shows_every_system(tmp_path):
    """A line for each, named below."""
    reveal = RESULT | {"kind": workload.KINDS[1]}
    points = {title: plot.points_of([RESULT, reveal], kinds) for title, kinds in plot.PANELS.items()}
    drawn = plot.svg(points)
    assert drawn.count("<circle") == 2
    assert f">{throughput.OURS}<" in drawn


def test_the_copy_beside_files_copies_all_of_them(msg_db_url, tmp_path):
    """Every byte goes into the table and out of it again."""
    path = tmp_path / "content"
    path.write_bytes(bytes(range(256)) * 1000)

    assert set(files._copied(path, msg_db_url)) == {"up", "down"}

    copied = (tmp_path / "copied").read_bytes()
    assert len(copied) == len(b"".join(files._Rows(path)))
    assert path.read_bytes()[-1000:] in copied


def test_growth_is_computed_from_the_figures():
    """The table of docs/growth.md is what tests.bench.capacity computes today."""
    assert capacity.table() in (capacity.RESULTS.parent / "growth.md").read_text()


def test_keys_last_for_ever_up_to_what_comes_back():
    """203 notes a second on average, as operating.md says; beyond that, they end."""
    results = json.loads(capacity.RESULTS.read_text())["throughput"]["results"]
    assert capacity.need(203, results).first == "nothing"
    assert capacity.need(204, results).first == "keys"
