"""The secrets of the single server: where they are, where they never are, and who may read them."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

# Actions that know no resources.
UNBOUND = {"ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"}


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
