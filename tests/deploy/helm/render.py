"""Renders the chart as Helm does and validates it as Kubernetes does; runs in .venv-helm.

Standard input has {"values": …, "versions": [Kubernetes versions]} as JSON. Standard output has {"manifests":
[…], "lint": [messages]} or {"refused": "why"}.
"""

import json
import sys
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import yaml

CHART = Path(__file__).resolve().parents[3] / "deploy" / "helm"


def render(values, versions):
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(values, name="notes", namespace="production")
    manifests = [document for text in rendered.values() for document in yaml.safe_load_all(text) if document]
    for manifest in manifests:
        for version in versions:
            kubernetes_validate.validate(manifest, version, strict=True)
    lint = [message["error"] for message in helm.lint(CHART, values, strict=True)["messages"]]
    return {"manifests": manifests, "lint": lint}


def main():
    asked = json.load(sys.stdin)
    try:
        answer = render(asked["values"], asked["versions"])
    except (helm.HelmError, kubernetes_validate.ValidationError) as error:
        answer = {"refused": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
