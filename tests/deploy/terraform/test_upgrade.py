"""The single server's upgrade and its end.

These tests change the installation, in this order, so this is the last file that uses it.
"""

import os
import stat
import subprocess
from urllib.parse import urlsplit

import pytest

from tests.deploy.terraform.installation import push_images


@pytest.fixture(scope="module")
def changed(single):
    """A new version with new passwords and a certificate, applied, deletion allowed; what was there before."""
    before = {
        "secrets": single.secrets(),
        "migrate": single.started("migrate"),
        "web": single.containers("web"),
    }
    push_images(single.emulator, "0.2.0")
    parameter = "arn:aws:ssm:us-west-2:123456789012:parameter/note-whisperer-tls"
    single.terraform.variables |= {
        "password_version": 2,
        "image_tag": "0.2.0",
        "domain_name": "notes.example.org",
        "tls_certificate": {"certificate_arn": f"{parameter}/certificate", "key_arn": f"{parameter}/key"},
        "deletion_protection": False,
    }
    single.log = single.terraform.apply()
    return before


def test_every_password_is_replaced_without_a_trace(single, changed):
    """Raising password_version by one makes all of them new, and none of them known to the state."""
    now = single.secrets()
    state = single.terraform.run("state", "pull").stdout

    assert sorted(now) == sorted(changed["secrets"])
    for name, secret in now.items():
        assert secret != changed["secrets"][name], name
        assert (urlsplit(secret).password or secret) not in state + single.log, name
    for database in ("key_db", "msg_db"):
        url = now[f"/note-whisperer/{database}/schema_owner-url"]
        assert urlsplit(url).password == now[f"/note-whisperer/{database}/owner-password"]


def test_upgrade_migrates_again_and_seeds_nothing(single, changed):
    """Migrations run for the new version before its servers do; the KGS has done its work."""
    assert single.started("migrate") == changed["migrate"] + 1
    assert single.log.index("terraform_data.migrate: Creation complete") < single.log.index(
        "aws_ecs_service.web: Modifying"
    )
    assert "terraform_data.kgs: Creating" not in single.log


def test_service_runs_the_new_build_with_the_new_passwords(single, changed):
    """ECS reads secrets when it starts a task, so a new password makes new tasks."""
    [service] = single.client("ecs").describe_services(
        cluster="note-whisperer", services=["note-whisperer-web"]
    )["services"]
    containers = single.containers("web")
    newest = single.client("ecs").describe_task_definition(taskDefinition="note-whisperer-web")[
        "taskDefinition"
    ]

    assert service["taskDefinition"] == newest["taskDefinitionArn"]
    assert containers["server"]["image"].endswith("/server:0.2.0")
    assert containers["server"]["dockerLabels"] == {"password-version": "2"}
    assert changed["web"]["server"]["dockerLabels"] == {"password-version": "1"}


def test_given_certificate_is_written_before_nginx_starts(single, changed, tmp_path):
    """A container of nginx's user turns the two secrets into the files that nginx reads."""
    containers = single.containers("web")
    certificate = containers["certificate"]
    [mount] = certificate["mountPoints"]
    variables = {"CERTIFICATE": "first line\nsecond line", "KEY": "its key"}
    script = [word.replace(mount["containerPath"], str(tmp_path)) for word in certificate["command"]]

    subprocess.run(
        [*certificate["entryPoint"], *script], env={"PATH": os.environ["PATH"]} | variables, check=True
    )

    assert sorted(secret["name"] for secret in certificate["secrets"]) == sorted(variables)
    assert {"containerName": "certificate", "condition": "SUCCESS"} in containers["nginx"]["dependsOn"]
    assert containers["nginx"]["mountPoints"] == [mount]
    assert certificate["image"] == containers["nginx"]["image"]
    assert not certificate["essential"]
    assert (tmp_path / "certificate.pem").read_text() == "first line\nsecond line\n"
    assert (tmp_path / "key.pem").read_text() == "its key\n"
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_links_start_with_the_given_name(single, changed):
    """domain_name makes the links; where it has to point is printed."""
    [address] = single.client("ec2").describe_addresses()["Addresses"]
    environment = {e["name"]: e["value"] for e in single.containers("web")["server"]["environment"]}

    assert environment["PUBLIC_URL"] == "https://notes.example.org"
    assert single.terraform.outputs()["dns_target"] == address["PublicIp"]


def test_nothing_changes_after_an_upgrade(single, changed):
    """A plan right after it is empty."""
    done = single.terraform.plan()
    assert done.returncode == 0, done.stdout[-4000:]


def test_destroy_leaves_nothing_but_the_keys_last_snapshot(single, changed):
    """The state is empty, and so is the account; the msg-db leaves no copy behind."""
    single.terraform.destroy()

    assert single.terraform.resources() == []
    rds, ec2 = single.client("rds"), single.client("ec2")
    assert rds.describe_db_instances()["DBInstances"] == []
    assert [s["DBInstanceIdentifier"] for s in rds.describe_db_snapshots()["DBSnapshots"]] == [
        "note-whisperer-key-db"
    ]
    assert single.secrets() == {}
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert ec2.describe_addresses()["Addresses"] == []
    assert single.client("ecr").describe_repositories()["repositories"] == []
    assert single.client("logs").describe_log_groups()["logGroups"] == []
    assert [
        r for r in single.client("iam").list_roles()["Roles"] if r["RoleName"].startswith("note-whisperer")
    ] == []
