"""What `make faults-mutants` takes out is there to be taken out."""

import pytest

from tests.faults.mutants import MUTANTS
from tests.server_process import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_source(mutant):
    """A piece that was rewritten is one that nothing is tried on any more."""
    text = (ROOT / "server" / mutant.file).read_text()
    assert mutant.of(text) != text
    assert all((ROOT / "tests" / test).is_file() for test in mutant.test.split())
