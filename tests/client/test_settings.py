"""The sources of the address and the access token."""

import pytest

from client.failures import UsageError
from client.settings import Settings


@pytest.fixture
def file(tmp_path):
    """Writes the settings' file: `file("NAME=VALUE", mode)`; returns the environment that finds it."""

    def write(text, mode=0o600):
        path = tmp_path / "config" / "note-whisperer" / "settings"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(mode)
        return {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    return write


def test_none(tmp_path):
    """Without settings there is neither."""
    assert Settings.from_env({}) == Settings.from_env({"HOME": str(tmp_path)}) == Settings(None, None)


def test_the_file(file):
    """Lines NAME=VALUE, comments and empty lines."""
    text = "# mine\n\nNOTE_WHISPERER_URL = https://notes.example.org/\nNOTE_WHISPERER_TOKEN=abc=\n"

    assert Settings.from_env(file(text)) == Settings("https://notes.example.org", "abc=")


def test_the_default_folder(tmp_path):
    """~/.config, also if XDG_CONFIG_HOME is not absolute, as its standard says."""
    path = tmp_path / ".config" / "note-whisperer" / "settings"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    path.write_text("NOTE_WHISPERER_URL=https://notes.example.org")

    settings = Settings.from_env({"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"})

    assert settings.url == "https://notes.example.org"


def test_the_environment_comes_first(file):
    """A variable that is set replaces the line of the file; an empty one does not."""
    environment = file("NOTE_WHISPERER_URL=https://a.example\nNOTE_WHISPERER_TOKEN=abc")

    settings = Settings.from_env(
        {**environment, "NOTE_WHISPERER_URL": "https://b.example", "NOTE_WHISPERER_TOKEN": ""}
    )

    assert settings.url == "https://b.example"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_can_read_is_refused(file, mode):
    """The error says how to repair it."""
    with pytest.raises(UsageError, match="chmod 600"):
        Settings.from_env(file("NOTE_WHISPERER_URL=https://a.example", mode))


def test_the_command_refuses_such_a_file(nw, file, environment, way):
    """Exit code 2, before anything is sent."""
    environment |= file("NOTE_WHISPERER_URL=https://a.example\nNOTE_WHISPERER_TOKEN=abc", 0o644)

    done = nw("send", data=b"hello")

    assert (done.returncode, way.sent) == (2, b"")
    assert b"chmod 600" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "NOTE_WHISPERER_URL",
        "OTHER=secret-word",
        "NOTE_WHISPERER_URL=https://secret-word@h",
        "NOTE_WHISPERER_TOKEN=secret-word",
        "NOTE_WHISPERER_URL=https://a.example\nNOTE_WHISPERER_TOKEN=secret-word two",
    ],
)
def test_what_is_no_setting_is_refused(file, text):
    """The error repeats no value."""
    with pytest.raises(UsageError) as error:
        Settings.from_env(file(text))

    assert "secret-word" not in error.value.detail


def test_a_token_of_the_file_stays_with_its_address(file):
    """A token that belongs to one service is not sent to another that the environment names."""
    environment = file("NOTE_WHISPERER_URL=https://a.example\nNOTE_WHISPERER_TOKEN=abc")

    settings = Settings.from_env({**environment, "NOTE_WHISPERER_URL": "https://b.example"})

    assert settings == Settings("https://b.example", None)
