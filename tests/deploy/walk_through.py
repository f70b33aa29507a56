"""Follows docs/operating.md on a bare Debian 12: its commands are read from the page and run as they stand.

By hand, as root, with debootstrap: `make walk-through`. There is no systemd in the root, so a stand-in for
`systemctl` runs what the units say. Each block of the page is run, or SKIPPED says why not; a test holds this
list to the page.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "operating.md"

# Blocks by the words that they begin with.
RUN = {
    "apt-get install git nginx-light": "install",
    "PUBLIC_URL=https://notes.example.org": "settings",
    "cp docs/systemd/*.service": "units",
    "token=$(openssl rand": "tokens",
    "python -m kgs fence --since": "fence",
    "UPDATE key_lease": "clock",
}
SKIPPED = {
    "the world": "a drawing",
    "docker compose up": "needs Docker",
    "BIND=0.0.0.0": "settings of Compose",
    "postgresql://web:": "an example of a URL; the walk writes all five",
    "export OAUTH2_PROXY": "needs oauth2-proxy and a provider",
    "curl -fsS https://truststore": "needs Amazon's server",
    "docker compose build": "needs Docker",
    "docker buildx": "needs Docker and a registry",
    '{"time"': "an example of a line",
    "cosign verify": "needs a published image",
}
# What stands on the page for something that only the reader knows, or takes too long here.
REPLACED = {
    "git clone … /opt/note-whisperer": "cp -r /source /opt/note-whisperer",
    "/etc/letsencrypt/live/notes.example.org": "/etc/note-whisperer",
    "PROCESSES=4": "PROCESSES=2",
    "apt-get install ": "apt-get install -y --no-install-recommends ",
    "https://notes.example.org/post": "$here https://notes.example.org/post",
    ">> tokens": ">> /etc/note-whisperer/tokens",
    "python -m kgs": "cd /opt/note-whisperer && KEY_DB_URL_FILE=/etc/note-whisperer/owner-key-db-url"
    " .venv/bin/python -m kgs",
    "2026-11-23T04:00:00Z": "$(date --utc --date=yesterday +%Y-%m-%dT%H:%M:%SZ) --yes",
}

# What the page asks for in words: two databases with owners, five files with URLs, a certificate.
PACKAGES = "postgresql curl openssl procps iproute2"
PREPARE = r"""
ip link set lo up
mkdir -p /etc/note-whisperer
hba=/etc/postgresql/15/main/pg_hba.conf
grep -Ev '^(#|$|listen|hba|ssl_(cert|key))' /source/compose/postgresql.conf > ${hba%/*}/conf.d/notes.conf
pg_ctlcluster 15 main start
su postgres -c "psql --quiet" <<END
CREATE ROLE key_owner LOGIN CREATEROLE PASSWORD 'one';
CREATE ROLE msg_owner LOGIN CREATEROLE PASSWORD 'two';
CREATE DATABASE key_db OWNER key_owner;
CREATE DATABASE msg_db OWNER msg_owner;
END
cp /source/compose/pg_hba.conf $hba && chown postgres $hba && pg_ctlcluster 15 main reload
while IFS=: read -r name role password; do
    database=$(echo ${name#*-} | tr - _)
    (umask 077; echo "postgresql://$role:$password@127.0.0.1/$database?sslmode=require" > /etc/note-whisperer/$name-url)
done <<END
owner-key-db:key_owner:one
owner-msg-db:msg_owner:two
web-key-db:web:three
web-msg-db:web:three
kgs-key-db:kgs:four
END
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=notes.example.org \
    -addext subjectAltName=DNS:notes.example.org -keyout /etc/note-whisperer/privkey.pem \
    -out /etc/note-whisperer/fullchain.pem 2>/dev/null
"""
# curl's options for a name that leads here, with its certificate.
HERE = """
here='--silent --show-error --fail --cacert /etc/note-whisperer/fullchain.pem'
here="$here --resolve notes.example.org:443:127.0.0.1 --header Accept:text/plain"
"""
CHECK = r"""
link=$(curl $here --data message=walked https://notes.example.org/post)
[ "$(curl $here $link)" = walked ]
echo "a note was put and revealed: ok"
"""
USE_TOKENS = """
chmod 644 /etc/note-whisperer/tokens
echo POST_TOKENS_FILE=/etc/note-whisperer/tokens >> /etc/note-whisperer/settings
systemctl restart note-whisperer
! curl $here --data message=hello https://notes.example.org/post 2>/dev/null
"""


def blocks():
    """The page's blocks of code, without the indentation of lists."""
    found = re.findall(r"^( *)```\w*\n(.*?)^ *```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands():
    """The blocks that are run, by their names, with what REPLACED says."""
    named = {}
    for block in blocks():
        for words, name in RUN.items():
            if block.startswith(words):
                for old, new in REPLACED.items():
                    block = block.replace(old, new)
                named[name] = block
    return named


def script(page):
    make_token, put = re.split(r"^(?=curl)", page["tokens"], flags=re.MULTILINE)
    steps = {
        "prepare": PREPARE + HERE,
        "settings": f"cat > /etc/note-whisperer/settings <<'END'\n{page['settings']}END\n",
        "units": f"mkdir -p /etc/systemd/system\ncd /opt/note-whisperer\n{page['units']}",
        "check": CHECK,
        "fence": page["fence"],
        "clock": f'psql "$(cat /etc/note-whisperer/owner-key-db-url)" -c "{page["clock"].strip()}"\n',
        "tokens": make_token + USE_TOKENS + put,
    }
    return "set -eu\n" + "".join(f"\necho '== {name}'\n{text}" for name, text in steps.items())


def installation(page):
    """The script for the part that needs the internet."""
    packages = f"apt-get update -qq\napt-get install -y -qq --no-install-recommends {PACKAGES} >/dev/null\n"
    return f"set -eu\n{packages}cd /\necho '== install'\n{page['install']}"


def main():
    work = Path(sys.argv[1])
    base, root = work / "bookworm", work / "root"
    work.mkdir(parents=True, exist_ok=True)
    if not base.exists():
        include = "--include=ca-certificates,python3"
        unfinished = work / "bookworm.unfinished"
        subprocess.run(["debootstrap", "--variant=minbase", include, "bookworm", unfinished], check=True)
        unfinished.rename(base)
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "--archive", base, root], check=True)
    (root / "source").mkdir()
    archive = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", "HEAD"], capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "--extract", "--directory", root / "source"], input=archive, check=True)
    for file in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"):
        shutil.copy(file, f"{root}{file}")
    systemctl = root / "usr/local/bin/systemctl"
    shutil.copy(Path(__file__).with_name("systemctl.py"), systemctl)
    systemctl.chmod(0o755)
    (root / "install.sh").write_text(installation(commands()))
    (root / "walk.sh").write_text(script(commands()))
    settings = (
        "PIP_CERT=/etc/ssl/certs/ca-certificates.crt DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 LC_ALL=C.UTF-8"
    )
    inside = (
        f"mount -t proc proc {root}/proc && mount -t tmpfs tmpfs {root}/run &&"
        f" mkdir {root}/run/postgresql && chmod 1777 {root}/run/postgresql && export {settings} &&"
        f" chroot {root} sh /install.sh && exec unshare --net chroot {root} sh /walk.sh"
    )
    # In a separate namespace, everything that it starts and mounts ends with it. The service also has its own network.
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside])
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
