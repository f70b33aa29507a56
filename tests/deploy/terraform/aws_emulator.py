"""An AWS for the Terraform tests: moto's server, made to answer as the AWS provider expects and to run tasks.

Start with `python aws_emulator.py -H 127.0.0.1 -p PORT`, with the Python that has moto. moto 5.2.5 and the
provider 5.100.0 are what the mends below were found with; each says what goes wrong without it.
"""

import os
import re
import secrets
import string
import time
from functools import wraps

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")  # before moto is imported

from moto.ec2.models import ec2_backends, security_groups  # noqa: E402
from moto.ec2.responses import launch_templates  # noqa: E402
from moto.ecs import models as ecs  # noqa: E402
from moto.ecs import responses as ecs_responses  # noqa: E402
from moto.logs.models import logs_backends  # noqa: E402
from moto.rds import models as rds  # noqa: E402
from moto.rds import responses as rds_responses  # noqa: E402
from moto.server import main  # noqa: E402


def mend(owner, name):
    """Replace `owner.name` by the decorated function, which gets the original as its first argument."""

    def replace(function):
        original = getattr(owner, name)
        setattr(owner, name, wraps(original)(lambda *args, **kwargs: function(original, *args, **kwargs)))
        return function

    return replace


# --- RDS


@mend(rds.DBInstance, "__init__")
def with_an_id_of_its_own(init, instance, *args, **kwargs):
    """Every instance has the same DbiResourceId, which is the provider's key for it."""
    init(instance, *args, **kwargs)
    alphabet = string.ascii_uppercase + string.digits
    instance.dbi_resource_id = "db-" + "".join(secrets.choice(alphabet) for _ in range(26))


@mend(rds_responses.RDSResponse, "describe_db_parameters")
def with_source(describe, response):
    """Parameters do not say that a user set them, and the provider sets them again at every apply."""
    answer = describe(response)
    for parameter in answer.result["Parameters"]:
        parameter.setdefault("Source", "user")
    return answer


# --- EC2


@mend(launch_templates.LaunchTemplates, "create_launch_template")
def without_the_templates_own_tags(create, response):
    """A launch template's tags leak into those of its instances: a difference at every plan."""
    answer = create(response)
    made = answer.result["LaunchTemplate"]["LaunchTemplateId"]
    data = response.ec2_backend.get_launch_template(made).latest_version().data
    specifications = data.get("TagSpecifications", [])
    data["TagSpecifications"] = [s for s in specifications if s["ResourceType"] != "launch-template"]
    return answer


# A rule that names a group loses its description: a difference at every plan.
security_groups.SecurityGroupRule.description = property(
    lambda rule: rule.ip_range.get("Description") or rule.source_group.get("Description")
)


# --- ECS services

KEPT = {
    "capacityProviderStrategy": "capacity_provider_strategy",
    "deploymentConfiguration": "deployment_configuration",
    "placementConstraints": "placement_constraints",
    "placementStrategy": "placement_strategy",
    "healthCheckGracePeriodSeconds": "health_check_grace_period_seconds",
    "enableECSManagedTags": "enable_ecs_managed_tags",
    "enableExecuteCommand": "enable_execute_command",
    "availabilityZoneRebalancing": "availability_zone_rebalancing",
}


@mend(ecs_responses.EC2ContainerServiceResponse, "create_service")
def keeping_its_settings(create, response):
    """A new service forgets these; an empty networkConfiguration makes the provider panic; none gets up."""
    answer = create(response)
    service = answer.result["service"]
    for wire, attribute in KEPT.items():
        value = response._get_param(wire)
        if value is not None:
            setattr(service, attribute, value)
    if service.network_configuration == {}:
        service.network_configuration = None
    if response._get_param("capacityProviderStrategy"):
        service.launch_type = None
    _deploy(service)
    return answer


@mend(ecs.EC2ContainerServiceBackend, "update_service")
def merging_settings(update, backend, properties):
    """An update replaces the deployment settings, where AWS merges them."""
    cluster = backend._get_cluster(properties.get("cluster", "default")).name
    name = properties["service"].split("/")[-1]
    old = getattr(backend.services.get(f"{cluster}:{name}"), "deployment_configuration", None)
    if old and properties.get("deployment_configuration"):
        properties["deployment_configuration"] = old | properties["deployment_configuration"]
    service = update(backend, properties)
    _deploy(service)
    return service


def _deploy(service):
    """All tasks of the service run, of the newest revision."""
    service.running_count, service.pending_count = service.desired_count, 0
    for deployment in service.deployments:
        deployment.update(
            desiredCount=service.desired_count,
            runningCount=service.desired_count,
            pendingCount=0,
            rolloutState="COMPLETED",
            taskDefinition=service.task_definition,
        )


# --- The ECS agent: instances join the cluster that their user data names, and tasks run to their end


@mend(ecs.EC2ContainerServiceBackend, "describe_clusters")
def with_the_instances_that_joined(describe, backend, names):
    """Instances join after somebody has looked for them in vain: they take their time on AWS, too."""
    answer = describe(backend, names)
    counts = [cluster.registered_container_instances_count for cluster in answer[0]]
    _join(backend)
    for cluster, count in zip(answer[0], counts, strict=True):
        if count == 0 and cluster.registered_container_instances_count and not hasattr(cluster, "looked"):
            cluster.looked = True
            cluster.registered_container_instances_count = 0
        elif hasattr(cluster, "looked"):
            cluster.registered_container_instances_count = len(backend.container_instances[cluster.name])
    return answer


def _join(backend):
    ec2 = ec2_backends[backend.account_id][backend.region_name]
    for reservation in ec2.reservations.values():
        for instance in reservation.instances:
            named = re.search(r"^ECS_CLUSTER=(\S+)$", instance.user_data.decode(), re.M)
            if not named or instance.state != "running" or hasattr(instance, "joined"):
                continue
            if named[1] in backend.clusters:
                backend.register_container_instance(named[1], instance.id)
                instance.joined = True


@mend(ecs.EC2ContainerServiceBackend, "run_task")
def run_to_the_end(run, backend, *args, **kwargs):
    """Every container does nothing and ends well, but `exit N`, which ends with N. Its command is its log."""
    tasks = run(backend, *args, **kwargs)
    for task in tasks:
        definition = backend.describe_task_definition(task.task_definition_arn)
        commands = {o["name"]: o.get("command") for o in task.overrides.get("containerOverrides", [])}
        for container in task.containers:
            container.command = commands.get(container.name) or container.command or []
            if container.command[:1] == ["exit"]:
                container.exitCode = int(container.command[1])
            _log(backend, definition, task, container)
    return tasks


def _log(backend, definition, task, container):
    [options] = [
        c["logConfiguration"]["options"]
        for c in definition.container_definitions
        if c["name"] == container.name
    ]
    logs = logs_backends[backend.account_id][options["awslogs-region"]]
    stream = f"{options['awslogs-stream-prefix']}/{container.name}/{task.id}"
    logs.create_log_stream(options["awslogs-group"], stream)
    line = {"timestamp": int(time.time() * 1000), "message": "emulated: " + " ".join(container.command)}
    logs.put_log_events(options["awslogs-group"], stream, [line])


@mend(ecs.EC2ContainerServiceBackend, "describe_tasks")
def at_their_end(describe, backend, cluster, tasks):
    """One look finds a task running, the next one stopped."""
    answer = describe(backend, cluster, tasks)
    for task in answer:
        if hasattr(task, "looked"):
            task.status = task.desired_status = "STOPPED"
        task.looked = True
    return answer


if __name__ == "__main__":
    main()
