"""A real Terraform that applies terraform/ to an emulated AWS, for the tests of what comes of it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import boto3

from tests.server_process import free_port

REPOSITORY = Path(__file__).parents[3]
DEPLOY_VENV = REPOSITORY / ".venv-deploy"
PROVIDER = "registry.terraform.io/hashicorp/aws/5.100.0/linux_amd64"
REGION = "us-west-2"
ACCOUNT = "123456789012"
KEY_PAIR = "mw-IAM-keypair"

# Few enough to be seeded for real in a moment.
KEY_COUNT = 65536

# Where people and packages put a provider mirror. TF_PLUGIN_MIRROR names another one.
USUAL_MIRRORS = (
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
    "/opt",
)


def missing():
    """Why the Terraform tests cannot run here, or None."""
    if not shutil.which("terraform"):
        return "terraform is not installed"
    if not mirror():
        return (
            f"the AWS provider is on no disk here ({PROVIDER} under TF_PLUGIN_MIRROR or a usual folder),"
            " and the tests download nothing"
        )
    if not (DEPLOY_VENV / "bin/aws").exists():
        return "the emulator is not installed: `make test-deploy` does that"
    return None


def mirror():
    """The folder that holds the provider as a filesystem mirror, or None."""
    candidates = [Path(folder).expanduser() for folder in USUAL_MIRRORS]
    candidates += [child for folder in candidates if folder.is_dir() for child in sorted(folder.iterdir())]
    if os.environ.get("TF_PLUGIN_MIRROR"):
        candidates.insert(0, Path(os.environ["TF_PLUGIN_MIRROR"]))
    return next((folder for folder in candidates if (folder / PROVIDER).is_dir()), None)


class Emulator:
    """A separate AWS account, empty except for the operator's key pair."""

    def __init__(self, log):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [DEPLOY_VENV / "bin/python", Path(__file__).with_name("aws_emulator.py")]
        with open(log, "w") as output:
            self._process = subprocess.Popen(
                [*command, "-H", "127.0.0.1", "-p", str(self.port)], stdout=output, stderr=output
            )
        self._wait()
        self.client("ec2").create_key_pair(KeyName=KEY_PAIR)

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="emulated",
            aws_secret_access_key="emulated",
        )

    def environment(self):
        """What programs need to take it for AWS."""
        return {
            "PATH": f"{DEPLOY_VENV / 'bin'}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def _wait(self):
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError("the AWS emulator does not start")


class Terraform:
    """The `terraform` program in a copy of terraform/, talking to an emulator."""

    def __init__(self, folder, emulator, variables=None):
        self.emulator = emulator
        self.variables = {"fellow_name": "mw"} | (variables or {})
        self.folder = folder / "terraform"
        # Without what an operator keeps beside the files: a real account's state and settings.
        of_others = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars*", "backend.tf")
        shutil.copytree(REPOSITORY / "terraform", self.folder, ignore=of_others)
        shutil.copy(REPOSITORY / "setup.cfg", folder)
        # Should the endpoint ever be lost on the way, no real account is touched.
        guard = f'provider "aws" {{\n  allowed_account_ids = ["{ACCOUNT}"]\n}}\n'
        (self.folder / "guard_override.tf").write_text(guard)
        settings = folder / "terraform.rc"
        settings.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror()}"\n  }}\n}}\n'
        )
        self.env = emulator.environment() | {
            "HOME": str(folder),
            "TF_CLI_CONFIG_FILE": str(settings),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "POLL": "0",  # run_task.sh asks again at once
        }
        self.run("init", "-input=false", "-lockfile=readonly")

    def run(self, command, *arguments, check=True):
        """Run a command of terraform; output and errors together."""
        done = subprocess.run(
            ["terraform", command, *arguments],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode:
            raise AssertionError(f"terraform {command} failed:\n{done.stdout[-6000:]}")
        return done

    def apply(self, *arguments, **variables):
        """Apply, with these variables besides the installation's own; what it prints."""
        return self.run("apply", "-no-color", "-auto-approve", *arguments, *self._given(variables)).stdout

    def plan(self, *arguments, check=True, **variables):
        """Plan; the exit code is 0 if nothing would change, 2 if something would."""
        done = self.run(
            "plan", "-no-color", "-detailed-exitcode", *arguments, *self._given(variables), check=False
        )
        if check and done.returncode == 1:
            raise AssertionError(f"terraform plan failed:\n{done.stdout[-6000:]}")
        return done

    def destroy(self, **variables):
        return self.run("destroy", "-no-color", "-auto-approve", *self._given(variables)).stdout

    def outputs(self):
        return {
            name: output["value"] for name, output in json.loads(self.run("output", "-json").stdout).items()
        }

    def resources(self):
        return self.run("state", "list").stdout.split()

    def attributes(self, kind):
        """What the provider read back of each resource of a type."""
        resources = json.loads(self.run("show", "-json").stdout)["values"]["root_module"]["resources"]
        return [resource["values"] for resource in resources if resource["type"] == kind]

    def _given(self, variables):
        given = self.variables | variables
        return [
            f"-var={name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in given.items()
        ]

    def run_task(self, family, *command):
        """run_task.sh, as an operator calls it."""
        return subprocess.run(
            ["sh", "run_task.sh", REGION, "note-whisperer", family, *command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
        )


def push_images(emulator, tag):
    """What `make push` leaves in ECR: a manifest under the tag in each repository."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "layers": [],
    }
    for image in ("server", "kgs", "nginx"):
        emulator.client("ecr").put_image(
            repositoryName=f"note-whisperer/{image}",
            imageManifest=json.dumps(manifest | {"config": {"digest": f"{image}:{tag}"}}),
            imageTag=tag,
        )


class Installation:
    """A fresh account, brought up as docs/deploying.md says: repositories, images, everything."""

    repository = REPOSITORY

    def __init__(self, folder, **variables):
        folder.mkdir()
        self.emulator = Emulator(folder / "emulator.log")
        self.client = self.emulator.client
        try:
            self._install(folder, variables)
        except BaseException:
            self.emulator.stop()
            raise

    def _install(self, folder, variables):
        if "high_availability" in variables:
            zone = self.client("route53").create_hosted_zone(Name="example.org", CallerReference="1")
            variables["hosted_zone_id"] = zone["HostedZone"]["Id"].removeprefix("/hostedzone/")
        self.terraform = Terraform(folder, self.emulator, {"key_count": KEY_COUNT} | variables)
        self.terraform.apply("-target=aws_ecr_repository.image")
        push_images(self.emulator, self.version)
        self.log = self.terraform.apply()
        self.outputs = self.terraform.outputs()
        # As first applied, for tests that run after others have changed it.
        self.first = {family: self.containers(family) for family in ("web", "kgs", "migrate")}
        self.first_secrets = self.secrets()

    @property
    def version(self):
        lines = (REPOSITORY / "setup.cfg").read_text().splitlines()
        return next(line.split(" = ")[1] for line in lines if line.startswith("version = "))

    def secrets(self):
        """Everything secret that exists: {parameter: value}."""
        ssm = self.client("ssm")
        names = [
            p["Name"]
            for page in ssm.get_paginator("describe_parameters").paginate()
            for p in page["Parameters"]
        ]
        found = ssm.get_parameters_by_path(Path="/note-whisperer", Recursive=True, WithDecryption=True)[
            "Parameters"
        ]
        assert sorted(names) == sorted(parameter["Name"] for parameter in found)
        return {parameter["Name"]: parameter["Value"] for parameter in found}

    def containers(self, family):
        """The containers of the newest revision of a task definition: {name: definition}."""
        definition = self.client("ecs").describe_task_definition(taskDefinition=f"note-whisperer-{family}")
        return {c["name"]: c for c in definition["taskDefinition"]["containerDefinitions"]}

    def started(self, family):
        """How often a task of this family was started."""
        ecs = self.client("ecs")
        tasks = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in ecs.list_tasks(cluster="note-whisperer", desiredStatus=status)["taskArns"]
        ]
        described = ecs.describe_tasks(cluster="note-whisperer", tasks=tasks)["tasks"] if tasks else []
        return [task["group"] for task in described].count(f"family:note-whisperer-{family}")
