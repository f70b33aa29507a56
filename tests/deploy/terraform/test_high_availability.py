"""What `terraform apply` brings up with high availability, where it differs from the single server."""

from urllib.parse import urlsplit

import pytest


@pytest.fixture(scope="module")
def balancer(balanced):
    [found] = balanced.client("elbv2").describe_load_balancers()["LoadBalancers"]
    return found


def test_second_apply_changes_nothing(balanced):
    """A plan right after the apply is empty."""
    done = balanced.terraform.plan()
    assert done.returncode == 0, done.stdout[-4000:]


def test_name_leads_to_the_load_balancer(balanced, balancer):
    """Links start with the name, and the zone sends it to the balancer."""
    records = balanced.client("route53").list_resource_record_sets(
        HostedZoneId=balanced.terraform.variables["hosted_zone_id"]
    )["ResourceRecordSets"]
    [address] = [r for r in records if r["Name"] == "notes.example.org." and r["Type"] == "A"]

    assert balanced.outputs["url"] == "https://notes.example.org"
    assert balancer["DNSName"] in address["AliasTarget"]["DNSName"]
    assert balanced.outputs["dns_target"] == balancer["DNSName"]


def test_tls_ends_at_the_load_balancer(balanced, balancer):
    """TLS 1.2 and 1.3 with a certificate for the name; plain HTTP is redirected."""
    elb = balanced.client("elbv2")
    listeners = {
        listener["Port"]: listener
        for listener in elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    }
    certificate = balanced.client("acm").describe_certificate(
        CertificateArn=listeners[443]["Certificates"][0]["CertificateArn"]
    )["Certificate"]

    assert sorted(listeners) == [80, 443]
    assert listeners[443]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
    assert certificate["DomainName"] == "notes.example.org"
    assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"


def test_load_balancer_keeps_no_log_of_urls(balanced, balancer):
    """They would hold tokens."""
    attributes = {
        a["Key"]: a["Value"]
        for a in balanced.client("elbv2").describe_load_balancer_attributes(
            LoadBalancerArn=balancer["LoadBalancerArn"]
        )["Attributes"]
    }

    assert attributes["access_logs.s3.enabled"] == "false"
    assert attributes.get("connection_logs.s3.enabled", "false") == "false"
    assert attributes["deletion_protection.enabled"] == "true"
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"


def test_instances_are_in_two_zones(balanced):
    """Two at least, and room to put new ones beside old ones."""
    [group] = balanced.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]

    assert (group["MinSize"], group["MaxSize"]) == (2, 4)
    assert len(group["AvailabilityZones"]) == 2


def test_databases_have_standbys(balanced):
    """Multi-AZ, both; and still no backup of the msg-db."""
    databases = {d["DBName"]: d for d in balanced.client("rds").describe_db_instances()["DBInstances"]}

    assert {name: d["MultiAZ"] for name, d in databases.items()} == {"key_db": True, "msg_db": True}
    assert databases["msg_db"]["BackupRetentionPeriod"] == 0


def test_new_tasks_are_up_before_old_ones_go(balanced):
    """Never fewer than wanted; on any free port, so that two tasks fit on one instance."""
    [service] = balanced.client("ecs").describe_services(
        cluster="note-whisperer", services=["note-whisperer-web"]
    )["services"]
    deployment = service["deploymentConfiguration"]

    assert service["desiredCount"] == 2
    assert (deployment["minimumHealthyPercent"], deployment["maximumPercent"]) == (100, 200)
    assert deployment["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert [p["hostPort"] for p in balanced.containers("web")["nginx"]["portMappings"]] == [0]


def test_nginx_believes_the_load_balancer_alone(balanced, balancer):
    """Plain HTTP from the balancer's subnets; no certificate in the task."""
    containers = balanced.containers("web")
    environment = {e["name"]: e["value"] for e in containers["nginx"]["environment"]}
    subnets = balanced.client("ec2").describe_subnets(
        SubnetIds=[z["SubnetId"] for z in balancer["AvailabilityZones"]]
    )

    assert environment["TLS"] == "off"
    assert set(environment["BALANCERS"].split(",")) == {s["CidrBlock"] for s in subnets["Subnets"]}
    assert sorted(containers) == ["nginx", "server"]


def test_instances_are_reached_through_the_load_balancer_alone(balanced):
    """The world reaches the balancer, the balancer the instances, and only those the databases."""
    ec2 = balanced.client("ec2")
    names = {g["GroupId"]: g["GroupName"] for g in ec2.describe_security_groups()["SecurityGroups"]}
    ways_in = {
        (
            names[rule["GroupId"]].removeprefix("note-whisperer-"),
            rule.get("CidrIpv4")
            or names[rule["ReferencedGroupInfo"]["GroupId"]].removeprefix("note-whisperer-"),
            rule["FromPort"],
        )
        for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]
        if not rule["IsEgress"] and names[rule["GroupId"]].startswith("note-whisperer-")
    }

    assert ways_in == {
        ("balancer", "0.0.0.0/0", 80),
        ("balancer", "0.0.0.0/0", 443),
        ("web", "balancer", 32768),
        ("database", "web", 5432),
    }


def test_kgs_was_started_once(balanced):
    """However many servers there are."""
    assert (balanced.started("migrate"), balanced.started("kgs")) == (1, 1)


def test_no_secret_is_in_the_state(balanced):
    """Neither a password nor a URL that holds one."""
    state = balanced.terraform.run("state", "pull").stdout
    for name, secret in balanced.secrets().items():
        assert (urlsplit(secret).password or secret) not in state, name
