"""What `terraform apply` brings up, asked through boto3: the single server, its upgrade, and its end."""

import json
import os
import stat
import subprocess
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.deploy.terraform.installation import push_images

# What the ECS agent leaves of a t2.micro's 1 GiB, less ECS_RESERVED_MEMORY (terraform/containers.tf).
T2_MICRO_MIB = 950 - 64

# Actions that know no resources.
UNBOUND = {"ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"}


@pytest.fixture(scope="module")
def rules(single):
    return single.client("ec2").describe_security_group_rules()["SecurityGroupRules"]


@pytest.fixture(scope="module")
def groups(single):
    return {
        g["GroupName"]: g["GroupId"]
        for g in single.client("ec2").describe_security_groups()["SecurityGroups"]
    }


@pytest.fixture(scope="module")
def databases(single):
    found = single.client("rds").describe_db_instances()["DBInstances"]
    return {database["DBName"]: database for database in found}


@pytest.fixture(scope="module")
def policies(single):
    """{role: [statement]} of all roles."""
    iam = single.client("iam")
    roles = [r["RoleName"] for r in iam.list_roles()["Roles"] if r["RoleName"].startswith("note-whisperer")]
    found = {}
    for role in roles:
        assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
        found[role] = [statement for document in documents for statement in document["Statement"]]
    return found


def listed(value):
    return [value] if isinstance(value, str) else value


# --- Once


def test_second_apply_changes_nothing(single):
    """A plan right after the apply is empty."""
    done = single.terraform.plan()
    assert done.returncode == 0, done.stdout[-4000:]


def test_migrations_then_keys_then_service(single):
    """The schema is there before the KGS runs, and the keys before the service counts as up."""
    events = [
        "aws_db_instance.key: Creation complete",
        "terraform_data.migrate: Creating",
        "terraform_data.migrate: Creation complete",
        "terraform_data.kgs: Creating",
        "terraform_data.kgs: Creation complete",
        "aws_ecs_service.web: Creating",
    ]
    places = [single.log.index(event) for event in events]
    assert places == sorted(places)


def test_kgs_and_migrations_were_started_once(single):
    """One task of each, whoever started it."""
    assert (single.started("migrate"), single.started("kgs")) == (1, 1)


def test_result_of_the_kgs_is_in_the_output_of_apply(single):
    """An operator sees what the KGS logged, and that it ended well, without looking for it."""
    assert "(local-exec): emulated: python -m kgs seed --count 65536" in single.log
    assert "(local-exec): run_task: note-whisperer-kgs ended well" in single.log


def test_failing_task_fails_the_apply(single):
    """run_task.sh, which apply waits for, passes a failure on and says where to look."""
    done = single.terraform.run_task("note-whisperer-migrate", "exit", "3")

    assert done.returncode == 1
    assert "failed with exit code 3" in done.stderr
    assert "/note-whisperer/migrate" in done.stderr


def test_run_that_was_cut_off_is_waited_for(single):
    """With a task of the family still running, run_task.sh starts no second one."""
    ecs = single.client("ecs")
    before = single.started("migrate")
    ecs.run_task(cluster="note-whisperer", taskDefinition="note-whisperer-migrate", launchType="EC2")

    done = single.terraform.run_task("note-whisperer-migrate")

    assert done.returncode == 0, done.stderr
    assert "running already" in done.stderr
    assert single.started("migrate") == before + 1


def test_run_of_an_older_version_is_not_taken_for_this_one(single):
    """With an older revision's task still running, run_task.sh lets it end and then starts its own."""
    ecs = single.client("ecs")
    old = ecs.describe_task_definition(taskDefinition="note-whisperer-migrate")["taskDefinition"]
    ecs.run_task(cluster="note-whisperer", taskDefinition="note-whisperer-migrate", launchType="EC2")
    new = ecs.register_task_definition(
        family="note-whisperer-migrate",
        executionRoleArn=old["executionRoleArn"],
        containerDefinitions=old["containerDefinitions"],
    )
    before = single.started("migrate")

    done = single.terraform.run_task("note-whisperer-migrate")

    ecs.deregister_task_definition(taskDefinition=new["taskDefinition"]["taskDefinitionArn"])
    assert done.returncode == 0, done.stderr
    assert "running already" in done.stderr
    assert "started note-whisperer-migrate" in done.stderr
    assert single.started("migrate") == before + 1


def test_another_command_may_be_run_in_the_kgs_task(single):
    """The printed command takes `python -m kgs status` and the like."""
    assert single.outputs["kgs_run_command"] == "sh run_task.sh us-west-2 note-whisperer note-whisperer-kgs"
    family = single.outputs["kgs_run_command"].split()[-1]

    done = single.terraform.run_task(
        family, "python", "-m", "kgs", "fence", "--since", "2026-03-01T04:00:00+01:00", "--yes"
    )

    assert "emulated: python -m kgs fence --since 2026-03-01T04:00:00+01:00 --yes" in done.stdout
    assert done.returncode == 0, done.stderr


# --- Network


def test_databases_are_private_and_encrypted(single, databases):
    """No public address, in subnets with no way out, storage encrypted."""
    assert sorted(databases) == ["key_db", "msg_db"]
    ec2 = single.client("ec2")
    with_a_way_out = {
        association["SubnetId"]
        for table in ec2.describe_route_tables()["RouteTables"]
        if any(
            route.get("GatewayId", "").startswith("igw-") or route.get("NatGatewayId")
            for route in table["Routes"]
        )
        for association in table["Associations"]
        if "SubnetId" in association
    }
    assert len(with_a_way_out) == 2
    for database in databases.values():
        subnets = database["DBSubnetGroup"]["Subnets"]
        assert not database["PubliclyAccessible"]
        assert database["StorageEncrypted"]
        assert len({subnet["SubnetAvailabilityZone"]["Name"] for subnet in subnets}) == 2
        assert {subnet["SubnetIdentifier"] for subnet in subnets} & with_a_way_out == set()


def test_nothing_opens_postgresql_to_an_address_range(rules):
    """Port 5432 is in rules that name a group, and in no rule for addresses, however wide its ports."""
    for rule in rules:
        covers = rule["IpProtocol"] == "-1" or rule["FromPort"] <= 5432 <= rule["ToPort"]
        if covers and not rule["IsEgress"]:
            assert "CidrIpv4" not in rule and "CidrIpv6" not in rule, rule


def test_databases_are_reached_by_the_web_group_alone(rules, groups, databases):
    """One way in, one port, one group; and no way out."""
    ours = [rule for rule in rules if rule["GroupId"] == groups["note-whisperer-database"]]

    assert [
        (r["IsEgress"], r["FromPort"], r["ToPort"], r["ReferencedGroupInfo"]["GroupId"]) for r in ours
    ] == [(False, 5432, 5432, groups["note-whisperer-web"])]
    for database in databases.values():
        assert [g["VpcSecurityGroupId"] for g in database["VpcSecurityGroups"]] == [
            groups["note-whisperer-database"]
        ]


def test_the_world_reaches_http_and_https_only(rules, groups):
    """No SSH unless it was asked for."""
    ours = [r for r in rules if r["GroupId"] == groups["note-whisperer-web"] and not r["IsEgress"]]

    assert sorted((r["FromPort"], r["ToPort"], r["CidrIpv4"]) for r in ours) == [
        (80, 80, "0.0.0.0/0"),
        (443, 443, "0.0.0.0/0"),
    ]


def test_default_group_is_empty(single, rules):
    """A resource that names no group reaches nothing."""
    ec2 = single.client("ec2")
    [vpc] = [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    [default] = [
        group["GroupId"]
        for group in ec2.describe_security_groups()["SecurityGroups"]
        if group["VpcId"] == vpc and group["GroupName"] == "default"
    ]

    assert [rule for rule in rules if rule["GroupId"] == default] == []


def test_url_is_the_fixed_address_of_the_instance(single):
    """The address belongs to the installation, not to the instance, and is associated with it."""
    [address] = single.client("ec2").describe_addresses()["Addresses"]

    assert single.outputs["url"] == f"https://{address['PublicIp']}"
    assert address["InstanceId"]


# --- Databases


def test_key_db_is_kept_and_msg_db_is_not(databases):
    """The key-db has backups for seven days, the msg-db has none, and neither is deleted by accident."""
    assert {name: database["BackupRetentionPeriod"] for name, database in databases.items()} == {
        "key_db": 7,
        "msg_db": 0,
    }
    assert all(database["DeletionProtection"] for database in databases.values())


def test_postgresql_takes_tls_only_and_logs_no_statement(single, databases):
    """The parameters of the group that both databases use."""
    groups = {d["DBParameterGroups"][0]["DBParameterGroupName"] for d in databases.values()}
    assert len(groups) == 1

    found = single.client("rds").describe_db_parameters(DBParameterGroupName=groups.pop())["Parameters"]

    parameters = {parameter["ParameterName"]: parameter["ParameterValue"] for parameter in found}
    expected = {
        "rds.force_ssl": "1",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_error_statement": "panic",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_error_verbosity": "terse",
        "max_wal_size": "1024",
    }
    assert parameters | expected == parameters


# --- Secrets


def test_urls_log_in_by_role_over_verified_tls(single):
    """Each URL names its role and database and asks for a certificate that fits the name."""
    secrets = single.secrets()
    urls = {name: urlsplit(secret) for name, secret in secrets.items() if name.endswith("-url")}

    assert {name.split("/", 2)[2]: (url.username, url.path) for name, url in urls.items()} == {
        "key_db/schema_owner-url": ("schema_owner", "/key_db"),
        "msg_db/schema_owner-url": ("schema_owner", "/msg_db"),
        "key_db/web-url": ("web", "/key_db"),
        "msg_db/web-url": ("web", "/msg_db"),
        "key_db/kgs-url": ("kgs", "/key_db"),
    }
    for name, url in urls.items():
        database = name.split("/")[2]
        assert url.netloc.split("@")[1] == single.outputs["database_addresses"][database]
        assert parse_qs(url.query) == {
            "sslmode": ["verify-full"],
            "sslrootcert": ["/etc/ssl/note-whisperer/rds.pem"],
        }
        assert len(url.password) == 40
    assert len({url.password for url in urls.values()}) == 5
    for database in ("key_db", "msg_db"):
        assert (
            urls[f"/note-whisperer/{database}/schema_owner-url"].password
            == secrets[f"/note-whisperer/{database}/owner-password"]
        )


def test_images_bring_the_authorities_that_the_urls_name(single):
    """The file that sslrootcert names is where the Dockerfile puts it."""
    [path] = {
        parse_qs(urlsplit(s).query)["sslrootcert"][0]
        for n, s in single.secrets().items()
        if n.endswith("-url")
    }
    dockerfile = (single.repository / "Dockerfile").read_text()

    folder, name = path.rsplit("/", 1)
    assert f"COPY --from=authorities /authorities/ {folder}/" in dockerfile
    assert name in dockerfile


def test_no_secret_is_in_the_state_or_in_what_terraform_says(single):
    """Neither the state nor the output of the apply holds a password, whole or inside of a URL."""
    state = single.terraform.run("state", "pull").stdout
    for name, secret in single.secrets().items():
        password = urlsplit(secret).password or secret
        assert len(password) == 40
        assert password not in state, name
        assert password not in single.log, name


def test_no_secret_is_in_a_plan(single):
    """Not even in one that makes new passwords: a plan file can be kept and shown around."""
    done = single.terraform.plan("-out=rotation", password_version=2)
    assert done.returncode == 2

    plan = single.terraform.run("show", "-json", "rotation").stdout

    assert "value_wo_version" in plan
    assert "postgresql://" not in plan + done.stdout
    for name, secret in single.secrets().items():
        assert (urlsplit(secret).password or secret) not in plan + done.stdout, name


def test_containers_get_secrets_by_reference(single):
    """The environment of every container that is started holds no password, only parameters' names."""
    passwords = {urlsplit(secret).password or secret for secret in single.secrets().values()}
    for family in ("web", "kgs", "migrate"):
        text = json.dumps(single.containers(family))
        assert [password for password in passwords if password in text] == []

    def given(family, container):
        return {
            s["name"]: s["valueFrom"].split(":parameter/note-whisperer/")[1]
            for s in single.containers(family)[container].get("secrets", [])
        }

    assert given("web", "server") == {"KEY_DB_URL": "key_db/web-url", "MSG_DB_URL": "msg_db/web-url"}
    assert given("web", "nginx") == {}
    assert given("kgs", "kgs") == {"KEY_DB_URL": "key_db/kgs-url"}
    assert given("migrate", "migrate") == {
        "KEY_DB_URL": "key_db/schema_owner-url",
        "MSG_DB_URL": "msg_db/schema_owner-url",
        "WEB_KEY_DB_URL": "key_db/web-url",
        "WEB_MSG_DB_URL": "msg_db/web-url",
        "KGS_KEY_DB_URL": "key_db/kgs-url",
    }


# --- IAM


def test_policies_name_actions_and_resources(policies):
    """No action has a wildcard; a resource is everything only where AWS knows no other or a condition limits it."""
    assert len(policies) == 4
    for role, statements in policies.items():
        for statement in statements:
            assert not any("*" in action for action in listed(statement["Action"])), role
            if "*" in listed(statement["Resource"]):
                bounded = "ecs:cluster" in statement.get("Condition", {}).get("ArnEquals", {})
                assert bounded or set(listed(statement["Action"])) <= UNBOUND, statement


def test_each_task_reads_its_own_secrets_only(policies):
    """The web task cannot read the owner's URLs, the KGS neither those nor the web's."""

    def readable(role):
        return {
            resource.split(":parameter/note-whisperer/")[1]
            for statement in policies[f"note-whisperer-{role}-execution"]
            if "ssm:GetParameters" in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }

    assert readable("web") == {"key_db/web-url", "msg_db/web-url"}
    assert readable("kgs") == {"key_db/kgs-url"}
    assert readable("migrate") == readable("web") | readable("kgs") | {
        "key_db/schema_owner-url",
        "msg_db/schema_owner-url",
    }
    assert not any(
        action.startswith(("ssm:", "secretsmanager:", "kms:", "rds:", "iam:"))
        for statement in policies["note-whisperer-instance"]
        for action in listed(statement["Action"])
    )


def test_containers_have_no_role_of_their_own(single):
    """What runs in a container calls no AWS API."""
    for family in ("web", "kgs", "migrate"):
        definition = single.client("ecs").describe_task_definition(taskDefinition=f"note-whisperer-{family}")
        assert "taskRoleArn" not in definition["taskDefinition"]
        assert definition["taskDefinition"]["executionRoleArn"].endswith(f"note-whisperer-{family}-execution")


# --- Machines and images


def test_instances_demand_tokens_and_keep_their_role_from_containers(single):
    """IMDSv2 only, no further than the instance itself; an encrypted disk; the operator's key pair."""
    [template] = single.client("ec2").describe_launch_template_versions(
        LaunchTemplateName="note-whisperer-web", Versions=["$Default"]
    )["LaunchTemplateVersions"]
    data = template["LaunchTemplateData"]

    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert data["IamInstanceProfile"]["Arn"].endswith(":instance-profile/note-whisperer-web")
    assert data["KeyName"] == "mw-IAM-keypair"
    assert data["InstanceType"] == "t2.micro"
    assert [mapping["Ebs"]["Encrypted"] for mapping in data["BlockDeviceMappings"]] == [True]


def test_tags_of_images_are_immutable(single):
    """And every pushed image is scanned."""
    repositories = single.client("ecr").describe_repositories()["repositories"]

    assert sorted(r["repositoryName"] for r in repositories) == [
        f"note-whisperer/{n}" for n in ("kgs", "nginx", "server")
    ]
    assert {r["imageTagMutability"] for r in repositories} == {"IMMUTABLE"}
    assert {r["imageScanningConfiguration"]["scanOnPush"] for r in repositories} == {True}


def test_containers_run_the_pushed_build(single):
    """Every image is one of the three, with the version's tag."""
    images = {
        (family, name): container["image"]
        for family in ("web", "kgs", "migrate")
        for name, container in single.containers(family).items()
    }
    registry = "123456789012.dkr.ecr.us-west-2.amazonaws.com/note-whisperer"

    assert images == {
        ("web", "server"): f"{registry}/server:{single.version}",
        ("web", "nginx"): f"{registry}/nginx:{single.version}",
        ("kgs", "kgs"): f"{registry}/kgs:{single.version}",
        ("migrate", "migrate"): f"{registry}/server:{single.version}",
    }


def test_everything_that_may_run_at_once_fits_a_t2_micro(single):
    """The web task beside the KGS or a migration stays below what the instance has for containers."""
    limits = {
        family: sum(container["memory"] for container in single.containers(family).values())
        for family in ("web", "kgs", "migrate")
    }

    assert limits["web"] + max(limits["kgs"], limits["migrate"]) <= T2_MICRO_MIB
    assert single.containers("kgs")["kgs"]["memory"] > 256  # what the KGS may need


def test_nginx_knows_the_bound_on_its_memory(single):
    """nginx derives its limits from the memory that its container has."""
    nginx = single.containers("web")["nginx"]
    environment = {variable["name"]: variable["value"] for variable in nginx["environment"]}

    assert environment["MEMORY"] == str(nginx["memory"])


def test_containers_are_hardened(single):
    """Read-only root, no capabilities, no privileges, no core dumps."""
    for family in ("web", "kgs", "migrate"):
        for name, container in single.containers(family).items():
            assert container["readonlyRootFilesystem"], name
            assert not container["privileged"], name
            assert container["linuxParameters"]["capabilities"]["drop"] == ["ALL"], name
            assert not container["linuxParameters"]["capabilities"].get("add"), name
            assert {"name": "core", "softLimit": 0, "hardLimit": 0} in container["ulimits"], name


def test_long_running_containers_are_watched(single):
    """nginx waits until the server is healthy and is stopped before it; both have health checks."""
    containers = single.containers("web")

    assert containers["server"]["healthCheck"]["command"] == ["CMD", "python", "-m", "server", "health"]
    assert containers["nginx"]["healthCheck"]["command"][:2] == ["CMD", "curl"]
    assert containers["nginx"]["dependsOn"] == [{"containerName": "server", "condition": "HEALTHY"}]
    assert containers["server"]["essential"] and containers["nginx"]["essential"]


def test_the_single_server_serves_the_usual_ports(single):
    """80 and 443 of the instance are nginx's; the server process has no port outside."""
    containers = single.containers("web")

    assert {p["hostPort"]: p["containerPort"] for p in containers["nginx"]["portMappings"]} == {
        80: 8000,
        443: 8443,
    }
    assert containers["server"].get("portMappings", []) == []


def test_full_disks_and_vanishing_keys_raise_an_alarm(single, databases):
    """Puts are refused before a disk is full; that, the disks and the rate of puts have an alarm each."""
    alarms = {
        alarm["alarm_name"].removeprefix("note-whisperer-"): alarm
        for alarm in single.terraform.attributes("aws_cloudwatch_metric_alarm")
    }
    filters = {
        found["name"].removeprefix("note-whisperer-"): found
        for found in single.terraform.attributes("aws_cloudwatch_log_metric_filter")
    }
    server = single.containers("web")["server"]
    environment = {variable["name"]: variable["value"] for variable in server["environment"]}
    assert sorted(alarms) == ["key-db-storage", "keys", "msg-db-storage", "refused"]

    for database in databases.values():
        allocated, most = database["AllocatedStorage"], database["MaxAllocatedStorage"]
        assert (allocated, most) == (20, 100)
        alarm = alarms[f"{database['DBInstanceIdentifier'].removeprefix('note-whisperer-')}-storage"]
        assert alarm["metric_name"] == "FreeStorageSpace"
        assert alarm["dimensions"] == {"DBInstanceIdentifier": database["DBInstanceIdentifier"]}
        # The disk that is there has room for all notes and the log, and the alarm comes before puts are refused.
        left = allocated * 2**30 - int(environment["MAX_STORED_BYTES"])
        assert 2 * 2**30 < left < alarm["threshold"]
    for name in ("keys", "refused"):
        (counted,) = filters[name]["metric_transformation"]
        assert (alarms[name]["namespace"], alarms[name]["metric_name"]) == (
            counted["namespace"],
            counted["name"],
        )
    assert alarms["keys"]["threshold"] == 64**5 // 61
    assert alarms["refused"]["threshold"] == 0
    assert filters["refused"]["pattern"] == "{ $.status = 507 }"


def test_logs_are_kept_for_a_while_and_no_longer(single):
    """Every log group has a retention, and every container and database a group."""
    groups = single.client("logs").describe_log_groups()["logGroups"]

    assert {group["retentionInDays"] for group in groups} == {30}
    assert {group["logGroupName"] for group in groups} == set(single.outputs["log_groups"].values())
    for family in ("web", "kgs", "migrate"):
        for container in single.containers(family).values():
            assert (
                container["logConfiguration"]["options"]["awslogs-group"]
                in single.outputs["log_groups"].values()
            )


# --- What comes later. These change the installation, in this order.


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
