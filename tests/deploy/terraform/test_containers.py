"""The machines, images and containers of the single server."""

# What the ECS agent leaves of a t2.micro's 1 GiB, less ECS_RESERVED_MEMORY (terraform/containers.tf).
T2_MICRO_MIB = 950 - 64
# The same of a t4g.micro, if it lacks as much of its 1 GiB as a t4g.small of its two: docs/deploying.md.
T4G_MICRO_MIB = 1024 - (2048 - 1831) - 64


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


def test_everything_finds_room_on_a_t4g_micro(single):
    """ECS places tasks by what they reserve; beside a migration, the web task may take all that it may have."""
    web, kgs, migrate = (single.containers(family).values() for family in ("web", "kgs", "migrate"))
    reserved = [container.get("memoryReservation", container["memory"]) for container in (*web, *kgs)]

    assert sum(reserved) <= T4G_MICRO_MIB
    assert sum(container["memory"] for container in (*web, *migrate)) <= T4G_MICRO_MIB


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
