"""`run`: opens messages straight into one process, and shows them nowhere else."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.client.conftest import COMMAND
from tests.server_process import ROOT

SHOW = [sys.executable, "-c", "import os; print(repr(os.environ['A']))"]


def test_a_message_in_the_environment(nw, sent):
    """The command gets it exactly."""
    link, receipt = sent(" späß\n")

    done = nw("run", "--secret", f"A={link}", "--", *SHOW)

    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{' späß' + chr(10)!r}\n", b"")
    assert json.loads(nw("status", "--json", receipt).stdout)["confirmed"] is True


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has files in memory")
def test_a_message_in_a_file_in_memory(nw, sent):
    """NAME is its path; it can be read more than once."""
    link, _ = sent("a\0b")

    done = nw("run", "--secret-fd", f"A={link}", "--", "sh", "-c", 'cat "$A"; cat "$A"; echo "$A"')

    assert done.stdout.startswith(b"a\0ba\0b/dev/fd/")


def test_the_exit_code_is_that_of_the_command(nw, sent):
    """The command takes this one's place."""
    assert nw("run", "--secret", f"A={sent()[0]}", "--", "sh", "-c", "exit 42").returncode == 42
    killed = nw("run", "--secret", f"A={sent()[0]}", "--", "sh", "-c", "kill -TERM $$")
    assert killed.returncode == -signal.SIGTERM


def test_signals_reach_the_command(sent, environment):
    """It has the process id that the shell knows."""
    program = "import signal, sys; signal.signal(15, lambda *_: sys.exit(3)); print('ready', flush=True)"
    program += "; signal.pause()"
    running = subprocess.Popen(
        [*COMMAND, "run", "--secret", f"A={sent()[0]}", "--", sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    with running:
        assert running.stdout.readline() == b"ready\n"
        running.terminate()

    assert running.returncode == 3


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="only Linux has /proc")
@pytest.mark.parametrize("option", ["--secret", "--secret-fd"])
def test_where_others_see_processes_there_is_no_secret(nw, sent, option):
    """Not among the arguments, and not at the parent; with --secret-fd, the environment has no message either."""
    link, _ = sent("the heron stands")
    show = "cat /proc/$$/cmdline /proc/$PPID/cmdline /proc/$PPID/environ"
    if option == "--secret-fd":
        show += " /proc/$$/environ"

    done = nw("run", option, f"A={link}", "--", "sh", "-c", show)

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"PATH=" in done.stdout and b"sh\0-c\0" in done.stdout
    assert b"heron" not in done.stdout and link.partition("#")[2].encode() not in done.stdout


def test_signals_are_as_the_shell_left_them(nw, sent):
    """Python ignores SIGPIPE; the command must not inherit that."""
    link, _ = sent()

    done = nw("run", "--secret", f"A={link}", "--", "sh", "-c", "kill -PIPE $$; echo survived")

    assert (done.returncode, done.stdout) == (-signal.SIGPIPE, b"")


def test_arguments_of_the_command_are_its_own(nw, sent):
    """Even those that look like options, and a second --."""
    done = nw("run", "--secret", f"A={sent()[0]}", "--", "printf", "%s,", "--json", "--", "--passphrase=x")

    assert done.stdout == b"--json,--,--passphrase=x,"


def test_if_one_message_is_gone_none_is_opened(nw, sent):
    """The command first asks for the status of all of them."""
    good, gone = sent()[0], sent()[0]
    nw("read", "--yes", gone)

    done = nw("run", "--json", "--secret", f"A={good}", "--secret", f"B={gone}", "--", "true")

    error = json.loads(done.stderr)
    assert (done.returncode, error["opened"]) == (3, [])
    assert error["detail"].startswith("B: The message was read")
    assert b"is unread" in nw("status", good).stdout


def test_which_messages_were_opened_before_one_failed(nw, sent, tmp_path):
    """The passphrase of the second one is wrong."""
    (tmp_path / "right").write_text("sesame")
    (tmp_path / "wrong").write_text("simsim")
    first, second = sent()[0], sent("hello", "--passphrase-file", str(tmp_path / "right"))[0]
    secrets = ("--secret", f"A={first}", "--secret", f"B={second}")

    done = nw("run", *secrets, "--passphrase-file", str(tmp_path / "wrong"), "--", "true")

    assert done.returncode == 4
    assert b"B: The passphrase is wrong." in done.stderr
    assert b"Already opened, and now gone: A." in done.stderr
    assert b"was not started" in done.stderr
    assert b"is unread" in nw("status", second).stdout


def test_a_missing_passphrase_opens_nothing(nw, sent, tmp_path):
    """It is known before the first one is opened."""
    (tmp_path / "words").write_text("sesame")
    first, second = sent()[0], sent("hello", "--passphrase-file", str(tmp_path / "words"))[0]

    done = nw("run", "--secret", f"A={first}", "--secret", f"B={second}", "--", "true")

    assert done.returncode == 4
    assert b"No message was opened" in done.stderr
    assert b"is unread" in nw("status", first).stdout


def test_a_command_that_does_not_exist_opens_nothing(nw, sent):
    """Exit code 127, as in a shell."""
    link, _ = sent()

    done = nw("run", "--secret", f"A={link}", "--", "no-such-command")

    assert done.returncode == 127
    assert b"is unread" in nw("status", link).stdout


def test_a_command_that_does_not_exist_as_json(nw, sent):
    """It is an error like any other."""
    done = nw("run", "--json", "--secret", f"A={sent()[0]}", "--", "no-such-command")

    error = json.loads(done.stderr)
    assert (error["error"], error["exit"], error["opened"]) == ("not_found", 127, [])


def test_a_command_that_cannot_be_started(nw, sent, tmp_path):
    """Exit code 126: only then is it known, and the message is gone."""
    program = tmp_path / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o700)
    link, _ = sent()

    done = nw("run", "--json", "--secret", f"A={link}", "--", str(program))

    error = json.loads(done.stderr)
    assert (done.returncode, error["error"], error["opened"]) == (126, "cannot_run", ["A"])


def test_ctrl_c_between_two_messages_says_which_was_opened(terminal, sent, tmp_path):
    """Exit code 130."""
    (tmp_path / "words").write_text("sesame")
    first, second = sent()[0], sent("hello", "--passphrase-file", str(tmp_path / "words"))[0]
    person = terminal("run", "--secret", f"A={first}", "--secret", f"B={second}", "--", "true")
    person.wait_for("Passphrase of B: ")
    person.type("\x03")

    assert person.end() == 130
    assert b"Already opened, and now gone: A." in person.screen


def test_a_message_that_no_variable_can_hold(nw, sent):
    """The error says that the message was opened."""
    link, _ = sent("a\0b")

    done = nw("run", "--secret", f"A={link}", "--", "true")

    assert done.returncode == 1
    assert b"Use --secret-fd" in done.stderr and b"Already opened, and now gone: A." in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--secret", "A=LINK", "true"],
        ["--secret", "A=LINK"],
        ["--secret", "A=LINK", "--"],
        ["--secret", "1A=LINK", "--", "true"],
        ["--secret", "LINK", "--", "true"],
        ["--secret", "A=LINK", "--secret", "A=LINK", "--", "true"],
        ["--secret", "A=LINK", "--secret-fd", "B=LINK", "--", "true"],
        ["--", "true"],
    ],
)
def test_mistakes_open_nothing(nw, sent, way, arguments):
    """Exit code 2, and nothing is sent."""
    link, _ = sent()
    way.sent.clear()

    done = nw("run", *[argument.replace("LINK", link) for argument in arguments])

    assert (done.returncode, way.sent) == (2, b"")
    assert link.partition("#")[2].encode() not in done.stderr


def test_a_lost_answer_loses_nothing(nw, sent, way):
    """The same reader asks again."""
    link, _ = sent("hello")
    way.cuts[b"/reveal"] = 30

    done = nw("run", "--secret", f"A={link}", "--", *SHOW)

    assert (done.stdout, done.returncode) == (b"'hello'\n", 0), done.stderr
