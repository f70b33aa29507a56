"""push_images.sh against an emulated ECR; Docker is a stand-in that writes down what it is asked to do."""

import subprocess

import pytest

from tests.deploy.terraform.installation import REPOSITORY, Emulator, push_images

REGISTRY = "123456789012.dkr.ecr.us-west-2.amazonaws.com/note-whisperer"
SHA256 = "0" * 64


@pytest.fixture(scope="module")
def registry(terraform_here, tmp_path_factory):
    """An account with the three repositories."""
    emulator = Emulator(tmp_path_factory.mktemp("registry") / "emulator.log")
    for image in ("server", "kgs", "nginx"):
        emulator.client("ecr").create_repository(
            repositoryName=f"note-whisperer/{image}", imageTagMutability="IMMUTABLE"
        )
    yield emulator
    emulator.stop()


@pytest.fixture
def push(registry, tmp_path):
    """Runs the script for a tag; how it ended and what Docker was asked to do come back."""
    docker, asked = tmp_path / "docker", tmp_path / "asked"
    docker.write_text(f'#!/bin/sh\n[ "$1" != login ] || cat >/dev/null\necho "$@" >>{asked}\n')
    docker.chmod(0o755)
    asked.touch()

    def run(tag, platform="linux/amd64", **settings):
        env = registry.environment()
        env |= {"PATH": f"{tmp_path}:{env['PATH']}", "HOME": str(tmp_path)} | settings
        command = ["sh", REPOSITORY / "terraform/push_images.sh", REGISTRY, tag, platform]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        return done, asked.read_text().splitlines()

    return run


@pytest.mark.parametrize(("tag", "platform"), [("1.0.0", "linux/amd64"), ("1.0.0-arm", "linux/arm64")])
def test_three_images_are_built_and_pushed(push, tag, platform):
    """Each target for the instances' platform, with RDS's authorities, under the tag in its repository."""
    done, asked = push(tag, platform, RDS_BUNDLE_SHA256=SHA256)

    assert done.returncode == 0, done.stderr
    assert asked[0].startswith("login --username AWS")
    for image in ("server", "kgs", "nginx"):
        [build] = [line for line in asked if line.startswith("build") and f"--target {image} " in line]
        assert f"--platform {platform} --target {image} --tag {REGISTRY}/{image}:{tag}" in build
        assert f"DATABASE_AUTHORITIES=rds --build-arg RDS_BUNDLE_SHA256={SHA256}" in build
        assert f"push {REGISTRY}/{image}:{tag}" in asked


def test_tag_that_is_there_is_left_alone(push, registry):
    """An immutable tag cannot be pushed again, and need not be."""
    push_images(registry, "1.0.1")

    done, asked = push("1.0.1", RDS_BUNDLE_SHA256=SHA256)

    assert done.returncode == 0, done.stderr
    assert [line for line in asked if not line.startswith("login")] == []
    assert "kgs:1.0.1 is there already" in done.stdout


def test_authorities_are_asked_for(push):
    """Without the checksum nothing is built: such images could not reach the databases."""
    done, asked = push("1.0.2")

    assert done.returncode != 0
    assert "docs/deploying.md" in done.stderr
    assert asked == []
