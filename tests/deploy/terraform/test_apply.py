"""What `terraform apply` brings up, asked through boto3: the single server, its network, databases and alarms."""

import pytest


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
