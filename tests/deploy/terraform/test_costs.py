"""docs/deploying.md, "What it costs": the sums are those of the table's own prices and numbers."""

import math
import re

from tests.deploy.terraform.installation import REPOSITORY


def test_sums_are_right():
    """What each variant costs is the sum of its parts."""
    text = (REPOSITORY / "docs/deploying.md").read_text()
    (table,) = re.findall(r"^\| \| price a month .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    *parts, together = rows
    prices = [math.prod(float(factor) for factor in price.split("×")) for _, price, *_ in parts]

    sums = [
        sum(price * float(part[column] or 0) for price, part in zip(prices, parts))
        for column in range(2, len(together))
    ]

    assert [f"{each:.2f}" for each in sums] == together[2:]


def test_every_variants_default_type_is_in_the_table():
    """The types that the page names are those that Terraform starts by default."""
    text = (REPOSITORY / "docs/deploying.md").read_text()
    variables = (REPOSITORY / "terraform/variables.tf").read_text()
    for name in ("instance_type", "database_instance_class"):
        (default,) = re.findall(rf'variable "{name}" {{.*?default += "(.*?)"', variables, re.DOTALL)
        assert f"\n| {default}" in text
