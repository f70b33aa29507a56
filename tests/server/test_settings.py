"""Settings are read from a mapping, checked at once, and documented in the README."""

import dataclasses
from pathlib import Path

import pytest

from server.settings import Settings, SettingsError

README = Path(__file__).parent.parent.parent / "README.md"


def test_defaults_serve_a_laptop():
    """Without any variable the server listens on loopback with a PostgreSQL of its own."""
    settings = Settings.from_env({})

    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.embedded
    assert settings.public_url == "http://localhost:8080"
    assert settings.max_message_bytes == 65536


def test_the_default_links_follow_the_port():
    """On loopback, links name the port that the server listens on."""
    assert Settings.from_env({"PORT": "9000"}).public_url == "http://localhost:9000"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PROCESSES", "-1"),
        ("PUBLIC_URL", "notes.example.org"),
        ("PUBLIC_URL", "https://notes.example.org/path"),
        ("PUBLIC_URL", 'https://notes".example.org'),
        ("KEY_DB_URL", "host=localhost"),
        ("MAX_MESSAGE_BYTES", "0"),
        ("MAX_MESSAGE_BYTES", "1e6"),
        ("TRUSTED_PROXIES", "nginx"),
        ("DB_TIMEOUT", "nan"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("KEY_DB_URL_FILE", "/nowhere/at/all"),
    ],
)
def test_a_bad_value_stops_the_start_and_is_named(variable, value):
    """The error names the variable."""
    with pytest.raises(SettingsError, match=variable.removesuffix("_FILE")):
        Settings.from_env({variable: value})


def test_every_bad_value_is_named_at_once():
    """An operator corrects all mistakes in one go."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"PORT": "x", "LOG_LEVEL": "y"})

    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["PORT", "LOG_LEVEL"]


def test_public_url_is_required_beyond_loopback():
    """A server that strangers can reach must be told what its links start with."""
    with pytest.raises(SettingsError, match="PUBLIC_URL"):
        Settings.from_env({"HOST": "0.0.0.0"})


def test_one_database_alone_is_refused():
    """Both URLs are set, or neither."""
    with pytest.raises(SettingsError, match="KEY_DB_URL, MSG_DB_URL"):
        Settings.from_env({"KEY_DB_URL": "postgresql://localhost/keys"})


def test_a_database_url_may_be_in_a_file(tmp_path):
    """KEY_DB_URL_FILE keeps a password out of the environment."""
    file = tmp_path / "url"
    file.write_text("postgresql://web:secret@db/keys\n")

    settings = Settings.from_env({"KEY_DB_URL_FILE": str(file), "MSG_DB_URL": "postgresql://db/msgs"})

    assert settings.key_db_url == "postgresql://web:secret@db/keys"


def test_the_readme_lists_every_setting():
    """Its table has the name, the default and the meaning of each, in the order of the code."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(Settings):
        shown = field.metadata["shown"]
        if shown is None and field.default not in (None, ()):
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        default = f"`{shown}`" if shown else ""
        rows.append(f"| `{field.name.upper()}` | {default} | {field.metadata['meaning']} |")

    assert "\n".join(rows) in README.read_text()
