"""Files of other releases: `migrate` publishes them, and servers find them."""

import psycopg2
import pytest

from server import pages, releases
from server.database import Database
from server.releases import RELEASES_KEPT, ReleasedFiles
from server.static_files import File
from tests.conftest import statements


@pytest.fixture
def release(tmp_path):
    """Makes the static/ of a release: a script of its own, and one that all have."""

    def make(number):
        folder = tmp_path / str(number)
        (folder / "js").mkdir(parents=True)
        (folder / "js" / "page.js").write_text(f"// release {number}\n")
        (folder / "js" / "same.js").write_text("// the same in each release\n")
        (folder / "icon.png").write_bytes(b"an image")
        return folder

    return make


@pytest.fixture
def published(msg_db_url):
    """The paths and fingerprints in the msg-db."""

    def read():
        connection = psycopg2.connect(msg_db_url)
        with connection.cursor() as cursor:
            cursor.execute("SELECT path, fingerprint FROM static_file")
            found = set(cursor.fetchall())
        connection.close()
        return found

    return read


def named(folder):
    """The scripts of a release as `published` names them."""
    return {
        (path, File((folder / path).read_bytes(), "").fingerprint) for path in ("js/page.js", "js/same.js")
    }


@pytest.mark.gen_test
async def test_a_server_finds_what_another_release_published(msg_db_url, release):
    """The file is what its release has, with its media type, even if this server has no file of that name."""
    folder = release(1)
    releases.publish(msg_db_url, folder)
    content = (folder / "js/page.js").read_bytes()
    fingerprint = File(content, "").fingerprint
    database = Database(msg_db_url, 1, 5)
    files = ReleasedFiles(database)

    found = await files.find("js/page.js", fingerprint)
    again = await files.find("js/page.js", fingerprint)
    others = [
        await files.find(path, wanted)
        for path, wanted in [
            ("js/page.js", "0" * 16),
            ("js/other.js", fingerprint),
            ("js/page.js", fingerprint.upper()),
            ("js/page.js'", fingerprint),
            ("js/\0.js", fingerprint),
            ("icon.png", File(b"an image", "").fingerprint),
        ]
    ]
    await database.close()

    assert (found.content, found.media_type) == (content, "text/javascript; charset=utf-8")
    assert again is found
    assert others == [None] * len(others)


def test_publishing_again_changes_nothing(msg_db_url, release, published):
    """However often one release is migrated, the files of the release before it stay."""
    before, after = release(1), release(2)
    releases.publish(msg_db_url, before)
    for _ in range(RELEASES_KEPT + 1):
        releases.publish(msg_db_url, after)

    assert published() == named(before) | named(after)


def test_files_of_old_releases_go(msg_db_url, release, published):
    """The last three releases are kept, and what they have in common with older ones."""
    folders = [release(number) for number in range(RELEASES_KEPT + 2)]
    for folder in folders:
        releases.publish(msg_db_url, folder)

    assert published() == set().union(*map(named, folders[-RELEASES_KEPT:]))


def test_after_a_way_back_both_releases_stay(msg_db_url, release, published):
    """A release that is published again counts as the newest."""
    first, second = release(1), release(2)
    for folder in (first, second, first):
        releases.publish(msg_db_url, folder)

    assert published() == named(first) | named(second)


def test_every_script_and_style_can_be_found(msg_db_url, published):
    """The names of this release's files have the shape that is looked up, and no image is stored."""
    releases.publish(msg_db_url, pages.STATIC)

    assert all(releases.KNOWN_SHAPE.fullmatch(f"{path}?v={fingerprint}") for path, fingerprint in published())
    suffixes = {path.rpartition(".")[2] for path, _ in published()}
    assert suffixes == {"js", "mjs", "css", "txt"}


def test_the_database_takes_no_file_under_a_wrong_fingerprint(msg_db_url):
    """A browser would keep it for a year, and refuse it each time."""
    with statements(msg_db_url) as run, pytest.raises(psycopg2.errors.CheckViolation):
        run("INSERT INTO static_file VALUES ('js/page.js', '0123456789abcdef', 'text/javascript', 'x', 1)")
