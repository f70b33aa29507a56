#!/usr/bin/python3
"""A stand-in for systemctl without systemd: runs what a unit says, as its user, with its credentials."""

import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
LOG = Path("/var/log/server.log")
READY = ["curl", "--silent", "--fail", "--output", "/dev/null", "http://127.0.0.1:8080/readyz"]


def values(name, key):
    """What a unit and its drop-ins set for a key; an empty value only clears what was set before."""
    files = [UNITS / f"{name}.service", *sorted((UNITS / f"{name}.service.d").glob("*.conf"))]
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=") and not line.endswith("=")]


def start(name):
    for required in values(name, "Requires"):
        start(required.removesuffix(".service"))
    user = pwd.getpwnam("".join(values(name, "User")) or "root")
    credentials = Path("/run/credentials", name)
    shutil.rmtree(credentials, ignore_errors=True)
    credentials.mkdir(parents=True)
    for credential in values(name, "LoadCredential"):
        to, source = credential.split(":")
        shutil.copy(source, credentials / to)
        os.chown(credentials / to, user.pw_uid, user.pw_gid)
    environment = {"PATH": os.environ["PATH"]}
    for file in values(name, "EnvironmentFile"):
        environment |= dict(line.split("=", 1) for line in Path(file).read_text().split())
    for line in values(name, "Environment"):
        environment |= dict(part.replace("%d", str(credentials)).split("=", 1) for part in line.split())
    folder = "".join(values(name, "WorkingDirectory")) or "/"
    options = {"env": environment, "cwd": folder, "user": user.pw_uid, "group": user.pw_gid}
    for command in values(name, "ExecStartPre"):
        subprocess.run(["sh", "-c", command], check=True, **options)
    (command,) = values(name, "ExecStart")
    if "oneshot" in values(name, "Type") or "daemon on" in command:
        # All 2^30 keys take minutes and 6 GiB.
        command = command.replace("seed --all", "seed --count 1000000")
        subprocess.run(["sh", "-c", command], check=True, **options)
    else:
        with LOG.open("a") as log:
            subprocess.Popen(
                ["sh", "-c", f"exec {command}"], stdout=log, stderr=log, start_new_session=True, **options
            )
        wait_until_ready()


def wait_until_ready():
    for _ in range(300):
        if subprocess.run(READY).returncode == 0:
            return
        time.sleep(0.1)
    sys.exit(LOG.read_text())


def stop(name):
    """The server's processes finish their requests."""
    subprocess.run(["pkill", "--full", "^/opt/note-whisperer/.venv/bin/python -m server"])
    while subprocess.run(["pgrep", "--full", "python -m server"], stdout=subprocess.DEVNULL).returncode == 0:
        time.sleep(0.1)


if __name__ == "__main__":
    command, *names = [word for word in sys.argv[1:] if not word.startswith("--")]
    for name in names:
        if command == "restart" and name == "note-whisperer":
            stop(name)
        if command in ("start", "enable", "restart"):
            start(name)
