"""Downloads a wheel of each package of the images for both platforms; `make platforms` runs it, no test does."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE_ONLY = ("momoko",)  # pure Python: the Dockerfile builds its wheel


def main() -> None:
    (python,) = re.findall(r"^FROM python:(\d+\.\d+)", (REPOSITORY / "Dockerfile").read_text(), re.M)
    for machine in ("x86_64", "aarch64"):
        for lock in ("server", "kgs"):
            names = wheels(REPOSITORY / "requirements" / f"{lock}.txt", machine, python)
            print(f"{lock}, {machine}, Python {python}: {', '.join(names)}")


def wheels(lock: Path, machine: str, python: str) -> list[str]:
    """The wheels of a lock's packages. Raises CalledProcessError if one has none that its hashes allow."""
    requirements = re.split(r"(?<!\\)\n", lock.read_text().strip())
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text("\n".join(line for line in requirements if not line.startswith(SOURCE_ONLY)))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
        command += [f"--platform=manylinux_2_{glibc}_{machine}" for glibc in (28, 17)]
        command += [f"--platform=manylinux2014_{machine}", "--dest", folder, "--requirement", str(wanted)]
        subprocess.run(command, check=True)
        return sorted(wheel.name for wheel in Path(folder).glob("*.whl"))


if __name__ == "__main__":
    main()
