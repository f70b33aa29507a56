"""The Helm chart: what it renders is valid, hardened, and runs what the images have."""

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from server.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "helm"
PYTHON = ROOT / ".venv-helm" / "bin" / "python"
VERSIONS = ["1.33", "1.34", "1.35", "1.36", "1.37"]

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason=".venv-helm is not installed (make .venv-helm/installed)"
)

VALUES = {
    "publicUrl": "https://notes.example.org",
    "image": {"repository": "registry.example.org/note-whisperer"},
    "tls": {"secretName": "notes-certificate"},
    "networkPolicy": {"databases": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
}
INGRESS = {
    **VALUES,
    "tls": {"secretName": ""},
    "ingress": {
        "enabled": True,
        "className": "traefik",
        "tlsSecretName": "notes-certificate",
        "controllerNetworks": ["192.0.2.0/24"],
        "controllerPeers": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
        ],
    },
}
EVERYTHING = {
    **VALUES,
    "image": {"repository": "registry.example.org/nw", "tag": "9.9.9", "pullSecrets": [{"name": "registry"}]},
    "databaseAuthorities": {"configMap": "authorities"},
    "postTokens": {"secretName": "tokens"},
    "server": {"env": {"MAX_MESSAGE_BYTES": "1000", "AUDIT_LOG": "true"}},
    "nginx": {"env": {"POST_RATE": "5r/s"}, "workers": 4},
    "kgs": {"count": 1_000_000},
    "service": {"annotations": {"example.org/balancer": "public"}},
    "networkPolicy": {**VALUES["networkPolicy"], "monitoring": [{"namespaceSelector": {}}]},
    "topologySpread": {"whenUnsatisfiable": "DoNotSchedule"},
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
}


def asked(values, versions=()):
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("render.py")],
        input=json.dumps({"values": values, "versions": list(versions)}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=[VALUES, INGRESS, EVERYTHING], ids=["plain", "ingress", "everything"])
def values(request):
    return request.param


@pytest.fixture(scope="module")
def answer(values):
    return asked(values, VERSIONS)


@pytest.fixture(scope="module")
def manifests(answer):
    assert "refused" not in answer, answer
    return answer["manifests"]


def of_kind(manifests, kind):
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def pods(manifests):
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]
        for manifest in manifests
        if manifest["kind"] in ("Deployment", "Job")
    }


def containers(manifests):
    return {
        container["name"]: container
        for pod in pods(manifests).values()
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    }


def environment(container):
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_helm_finds_nothing(answer):
    """Helm's linter finds nothing, and the schemas of all versions of Kubernetes accept every manifest."""
    assert answer["lint"] == ["icon is recommended"]


def test_pods_meet_the_restricted_standard(manifests):
    """Pod Security Standards, "restricted": what a namespace that enforces it asks of each pod and container."""
    for pod in pods(manifests).values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for volume in spec["volumes"]:
            assert volume.keys() & {"emptyDir", "secret", "configMap"}
    for container in containers(manifests).values():
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["runAsUser"] > 0
        assert all("hostPort" not in port for port in container.get("ports", []))


def test_containers_can_write_to_memory_only(manifests):
    """The root is read-only, /tmp is memory of a bounded size, and the token of Kubernetes is missing."""
    for pod in pods(manifests).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        for volume in pod["spec"]["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Mi"}
    for container in containers(manifests).values():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")] == ["/tmp"]
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]


def test_users_are_those_of_the_images(manifests):
    """Each container runs as the user of its image in the Dockerfile."""
    users = dict(re.findall(r"^FROM \S+ AS (\w+)(?:(?!^FROM ).)*^USER (\d+):", _dockerfile(), re.M | re.S))
    for name, container in containers(manifests).items():
        image = container["image"].rpartition("/")[2].partition(":")[0]
        assert image == ("server" if name == "migrate" else name)
        assert container["securityContext"]["runAsUser"] == int(users[image])


def _dockerfile():
    return (ROOT / "Dockerfile").read_text()


def test_secrets_are_referred_to(manifests, values):
    """No manifest contains a secret: URLs and certificates come from existing Secrets."""
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    assert "postgresql://" not in json.dumps(manifests)
    named = {
        name: {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}
        for name, pod in pods(manifests).items()
    }
    web = {
        "note-whisperer-server",
        values["tls"]["secretName"],
        values.get("postTokens", {}).get("secretName", ""),
    }
    assert named == {
        "notes-web": web - {""},
        "notes-migrate": {"note-whisperer-migrate"},
        "notes-kgs": {"note-whisperer-kgs"},
    }


def test_settings_exist(manifests):
    """The server starts with these settings, and migrate with its own."""
    for name in ("server", "migrate"):
        variables = environment(containers(manifests)[name])
        files = {variable for variable in variables if variable.endswith("_FILE")}
        assert all(variables[file].startswith("/run/") for file in files)
        settings = {k: v for k, v in variables.items() if k not in files}
        assert settings.keys() <= {field.upper() for field in Settings.__dataclass_fields__}
        urls = {"KEY_DB_URL": "postgresql://a/b", "MSG_DB_URL": "postgresql://a/c"}
        Settings.from_env({"HOST": "0.0.0.0", **urls, **settings})


def test_migrations_and_keys_come_first(manifests):
    """The jobs run before anything of the new version: their network, the migrations, the keys."""
    first = [m for m in manifests if "helm.sh/hook" in m["metadata"].get("annotations", {})]
    weights = {m["metadata"]["name"]: int(m["metadata"]["annotations"]["helm.sh/hook-weight"]) for m in first}
    assert {m["metadata"]["annotations"]["helm.sh/hook"] for m in first} == {"pre-install,pre-upgrade"}
    assert weights == {"notes-job": 0, "notes-migrate": 1, "notes-kgs": 2}


def test_an_upgrade_leaves_no_gap(manifests):
    """A new pod serves before an old one goes, and nginx ends before its server does."""
    (web,) = of_kind(manifests, "Deployment").values()
    assert web["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    spec = web["spec"]["template"]["spec"]
    (server,), (nginx,) = spec["initContainers"], spec["containers"]
    assert server["restartPolicy"] == "Always"
    assert server["startupProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert server["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    pause = nginx["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown = int(
        re.search(r"worker_shutdown_timeout (\d+)s", (ROOT / "nginx" / "nginx.conf").read_text())[1]
    )
    drain = Settings.__dataclass_fields__["drain_seconds"].default
    assert spec["terminationGracePeriodSeconds"] >= pause + shutdown + drain + 5


def test_pods_are_spread_and_kept(manifests, values):
    """Over zones and nodes, each version by itself; a drained node takes one pod at a time."""
    (web,) = of_kind(manifests, "Deployment").values()
    labels = web["spec"]["template"]["metadata"]["labels"]
    spread = web["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [s["topologyKey"] for s in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    (budget,) = of_kind(manifests, "PodDisruptionBudget").values()
    assert budget["spec"]["maxUnavailable"] == 1
    selectors = [s["labelSelector"]["matchLabels"] for s in spread]
    for selector in (
        *selectors,
        budget["spec"]["selector"]["matchLabels"],
        web["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


def test_network_policies_leave_out_everything_else(manifests, values):
    """Pods reach names and the databases. Clients reach nginx's ports, monitoring the metrics, nobody the jobs."""
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies.keys() == {"notes-web", "notes-job"}
    for policy in policies.values():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        names, databases = policy["spec"]["egress"]
        assert {port["port"] for port in names["ports"]} == {53}
        assert databases == {
            "to": values["networkPolicy"]["databases"],
            "ports": [{"port": 5432, "protocol": "TCP"}],
        }
    for name, pod in pods(manifests).items():
        policy = policies["notes-web" if name == "notes-web" else "notes-job"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "ingress" not in policies["notes-job"]["spec"]
    clients, *others = policies["notes-web"]["spec"]["ingress"]
    if values is INGRESS:
        assert clients["from"] == values["ingress"]["controllerPeers"]
    assert {port["port"] for port in clients["ports"]} <= {"http", "https"}
    assert all(other["from"] for other in others)


def test_the_service_leads_to_nginx(manifests, values):
    """To its ports by name; nginx sees the clients' addresses, from the balancer or from the controller."""
    (service,) = of_kind(manifests, "Service").values()
    (web,) = of_kind(manifests, "Deployment").values()
    labels = web["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    nginx = containers(manifests)["nginx"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= {
        port["name"] for port in nginx["ports"]
    }
    if values is INGRESS:
        (ingress,) = of_kind(manifests, "Ingress").values()
        (rule,) = ingress["spec"]["rules"]
        assert rule["host"] == "notes.example.org"
        assert rule["http"]["paths"][0]["backend"]["service"]["name"] == service["metadata"]["name"]
        assert environment(nginx)["BALANCERS"] == "192.0.2.0/24"
        assert environment(nginx)["TLS"] == "off"
    else:
        assert service["spec"]["externalTrafficPolicy"] == "Local"
        assert not of_kind(manifests, "Ingress")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "publicUrl"),
        ({**VALUES, "publicUrl": "http://notes.example.org"}, "publicUrl"),
        ({**VALUES, "tls": {"secretName": ""}}, "tls.secretName"),
        ({**VALUES, "networkPolicy": {"databases": []}}, "networkPolicy.databases"),
        ({**VALUES, "replica": 3}, "replica"),
        ({**VALUES, "server": {"env": {"KEY_DB_URL": "postgresql://a:b@c/d"}}}, "KEY_DB_URL"),
        ({**INGRESS, "ingress": {**INGRESS["ingress"], "controllerNetworks": []}}, "controllerNetworks"),
    ],
)
def test_values_that_cannot_work_are_refused(values, words):
    """Helm names the value before it installs anything."""
    assert words in asked(values)["refused"]


def _leaves(values, path=""):
    for name, value in values.items():
        inner = f"{path}.{name}" if path else name
        if isinstance(value, dict) and value:
            yield from _leaves(value, inner)
        else:
            yield inner, value


def test_every_value_is_documented():
    """README.md has a line for each value, with its default, and for no other."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \|", (CHART / "README.md").read_text(), re.M)
    defaults = {
        name: f"`{json.dumps(value)}`"
        for name, value in _leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
    }
    assert dict(rows) == defaults


def test_the_chart_has_the_version():
    """The chart and the images that it runs have the version of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == setup["metadata"]["version"]
