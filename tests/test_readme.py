"""The README's examples work as they stand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
EXAMPLES = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PROMISED = [
    r'\{"url": "http://localhost:\d+/.{5}/.{24}", "key": ".{5}", "expires_at": ".*Z",'
    r' "receipt": "http://localhost:\d+/.{5}/receipt#.{86}"\}\n',
    r"helloThe message was read on .* UTC\..*\n",
    r"\w+ .* \d\d:\d\d:\d\d.*\n",
    r"The message is unread\. It expires on .* UTC\.\nhelloThe message was read on .* UTC\..*\n",
    r"The message is unread\. It expires on .* UTC\.\nThe message was destroyed unread on .* UTC\.\n",
    r"The message is unread\. It expires on .* UTC\.\n",
    r'\{"message": "hello"\}\n\{.*"status": 404.* "ending": \{"status": "read", "at": ".*Z"\}\}\n',
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("example", "promised"), list(zip(EXAMPLES, PROMISED, strict=True)))
def test_examples(server_url, example, promised):
    """Typed into a shell, an example does what the text around it says."""
    script = example.replace("localhost:8080", server_url.removeprefix("http://"))

    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(promised, done.stdout), done.stdout


def test_links_in_the_readme_lead_somewhere():
    """Every file that it names exists."""
    root = Path(__file__).parent.parent
    named = re.findall(r"\]\((?!http)([^)#]+)\)", README)

    assert named
    assert [name for name in named if not (root / name).exists()] == []
