"""The Terraform tests' installations: made once, both at the same time, since making one is mostly waiting."""

import concurrent.futures

import pytest

from tests.deploy.terraform import installation


@pytest.fixture(scope="session")
def terraform_here():
    """Skips where Terraform, its provider or the emulator is not there, and says which."""
    reason = installation.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def _installations(terraform_here, tmp_path_factory):
    folder = tmp_path_factory.mktemp("terraform")
    made = installation.Installation
    with concurrent.futures.ThreadPoolExecutor() as pool:
        futures = {
            "single": pool.submit(made, folder / "single"),
            "balanced": pool.submit(
                made, folder / "balanced", high_availability=True, domain_name="notes.example.org"
            ),
        }
        yield futures
    for future in futures.values():
        if not future.exception():
            future.result().emulator.stop()


@pytest.fixture(scope="session")
def single(_installations):
    """The seed's single server, applied."""
    return _installations["single"].result()


@pytest.fixture(scope="session")
def balanced(_installations):
    """The variant with high availability, applied."""
    return _installations["balanced"].result()


@pytest.fixture(scope="session")
def account(terraform_here, tmp_path_factory):
    """An AWS account in which nothing is installed."""
    emulator = installation.Emulator(tmp_path_factory.mktemp("account") / "emulator.log")
    yield emulator
    emulator.stop()
