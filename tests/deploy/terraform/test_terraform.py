"""terraform/ as text and as plans: formatted, valid, scanned, each variable described and checked."""

import json
import re
import subprocess

import pytest

from tests.deploy.terraform.installation import DEPLOY_VENV, REPOSITORY, Terraform, push_images

PUSHED = "0.0.1"
FILES = sorted((REPOSITORY / "terraform").glob("*.tf"))


@pytest.fixture(scope="module")
def terraform(account, tmp_path_factory):
    """Terraform with nothing applied but the repositories, and one build in them."""
    terraform = Terraform(tmp_path_factory.mktemp("plans"), account)
    terraform.apply("-target=aws_ecr_repository.image")
    push_images(account, PUSHED)
    return terraform


def test_files_are_formatted(terraform):
    """`terraform fmt` has nothing to change."""
    assert terraform.run("fmt", "-check", "-recursive", check=False).stdout == ""


def test_configuration_is_valid(terraform):
    """`terraform validate` finds neither errors nor warnings."""
    assert json.loads(terraform.run("validate", "-json").stdout)["diagnostics"] == []


def test_plans_are_as_both_variants_promise(terraform):
    """All runs of terraform/tests/*.tftest.hcl pass."""
    done = terraform.run("test", "-no-color", check=False)

    assert re.search(r"Success! \d+ passed, 0 failed", done.stdout), done.stdout
    assert "skip" not in done.stdout


def test_images_that_nobody_pushed_stop_the_plan(terraform):
    """Without the image the plan fails and says what to run, before any task is started."""
    done = terraform.plan(check=False, image_tag="9.9.9")

    assert done.returncode == 1
    assert "no such image_tag in ECR; run `make push`" in done.stdout


def test_missing_key_pair_is_explained(terraform):
    """An operator without the key pair is told what it has to be called."""
    done = terraform.plan(check=False, fellow_name="nobody", image_tag=PUSHED)

    assert done.returncode == 1
    assert 'no key pair named fellow_name and "-IAM-keypair"' in done.stdout


def test_scanner_finds_nothing(terraform):
    """checkov passes, without asking its makers' servers."""
    done = subprocess.run(
        [
            DEPLOY_VENV / "bin/checkov",
            *("--directory", terraform.folder, "--framework", "terraform"),
            *("--skip-download", "--quiet", "--compact", "--output", "json"),
        ],
        capture_output=True,
        text=True,
        env={"PATH": terraform.env["PATH"], "HOME": terraform.env["HOME"]},
    )
    summary = json.loads(done.stdout)["summary"]

    assert summary["failed"] == 0, done.stdout
    assert summary["parsing_errors"] == 0
    assert summary["passed"] > 100


def test_every_skipped_check_says_why():
    """A checkov skip without a reason, or with less than a few words, is not accepted."""
    for file in FILES:
        for check, reason in re.findall(r"checkov:skip=(\w+):?(.*)", file.read_text()):
            assert len(reason.split()) >= 2, f"{file.name}: {check}"


def test_every_variable_has_type_and_description():
    """And a validation, unless it is a boolean."""
    blocks = re.split(r"^variable ", (REPOSITORY / "terraform/variables.tf").read_text(), flags=re.M)[1:]
    assert len(blocks) > 10
    for block in blocks:
        name = block.split()[0]
        assert re.search(r"^  description = \"", block, re.M), name
        kind = re.search(r"^  type\s+= (\w+)", block, re.M)
        assert kind, name
        assert kind[1] == "bool" or "validation {" in block, name


def test_every_output_is_described():
    """`terraform output` alone is not enough to know what a value is for."""
    blocks = re.split(r"^output ", (REPOSITORY / "terraform/outputs.tf").read_text(), flags=re.M)[1:]
    assert all("description = " in block for block in blocks)


def test_files_stay_readable():
    """By what an operator looks for; a file that needs more room has two jobs."""
    lines = {file.name: len(file.read_text().splitlines()) for file in FILES if file.name != "variables.tf"}

    assert {name: count for name, count in lines.items() if count > 180} == {}


def test_servers_reach_the_writer_only():
    """No URL leads to a replica, which may show a note that is gone or not yet there.

    Jepsen found that reader endpoints of RDS for PostgreSQL 17.4 see commits in another order than the writer.
    """
    text = "\n".join(file.read_text() for file in FILES)

    assert not re.search(
        r"reader_endpoint|replicate_source_db|aws_rds_cluster|aws_db_proxy|target_session_attrs", text
    )
    assert re.findall(r"local\.database\[[^]]+\]\.(\w+)", text) == ["endpoint"]
    assert "database = { key_db = aws_db_instance.key, msg_db = aws_db_instance.msg }" in text


# AWS' limits for names of each kind of resource, in characters.
LIMITS = {
    "aws_lb": 32,
    "aws_lb_target_group": 32,
    "aws_db_instance": 63,
    "aws_db_parameter_group": 255,
    "aws_iam_role": 64,
    "aws_iam_instance_profile": 128,
    "aws_autoscaling_group": 255,
    "aws_cloudwatch_metric_alarm": 255,
    "aws_ecs_cluster": 255,
    "aws_launch_template": 128,
    "aws_security_group": 255,
}


def test_the_longest_name_fits_every_resource():
    """A name of 24 characters with what each resource appends stays within AWS' limits."""
    text = "\n".join(file.read_text() for file in FILES)
    longest = 24
    found = re.findall(r'^resource "(\w+)" "\w+" \{(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    checked = set()
    for kind, body in found:
        for suffix in re.findall(
            r'^  (?:name|identifier|alarm_name|final_snapshot_identifier) *= "\$\{var\.name\}(.*)"$',
            body,
            re.M,
        ):
            appended = re.sub(r"\$\{[^}]*\}", "x" * 16, suffix)
            assert longest + len(appended) <= LIMITS.get(kind, 64), (kind, suffix)
            checked.add(kind)
    assert {"aws_db_instance", "aws_iam_role", "aws_autoscaling_group"} <= checked
