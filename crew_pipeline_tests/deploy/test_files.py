"""The files of deploy/ are what the tools that read them take: systemd, helm, Kubernetes, Dagster, hadolint."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
CHART = DEPLOY / "helm" / "clean-up-crew"
BIN = Path(sys.executable).parent
EVERYTHING = (
    "ingress.enabled=true", "ingress.host=crew.example", "ingress.tlsSecret=tls", "ingress.className=nginx",
    "trustedProxies={10.0.0.0/8}", "imagePullSecrets[0].name=pull", "serviceMonitor.enabled=true",
)  # fmt: skip


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{BIN}:/usr/bin:/bin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{name} is not installed ('make .venv/deploy' installs what can be)")
    return found


def rendered(*values: str) -> list[dict[str, Any]]:
    sets = [part for value in values for part in ("--set", value)]
    done = subprocess.run([tool("helm"), "template", "demo", CHART, *sets], capture_output=True, text=True, check=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


@pytest.mark.parametrize("values", [(), EVERYTHING])
def test_kubernetes_takes_what_the_chart_renders(values: tuple[str, ...]) -> None:
    validation = pytest.importorskip("kubernetes_validate")
    documents = rendered(*values)
    assert len(documents) > 15
    for document in documents:
        if document["kind"] != "ServiceMonitor":
            validation.validate(document, "1.31", strict=True)


def test_the_chart_refuses_secrets_among_its_settings() -> None:
    for wrong in ("settings.CREW_DATABASE_URL=postgresql://u:p@db/x", "settings.PATH=/", "surprise=1"):
        done = subprocess.run(
            [tool("helm"), "template", "demo", CHART, "--set", wrong], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "schema" in done.stderr


def test_every_part_is_asked_whether_it_lives_and_bounded() -> None:
    documents = rendered()
    parts = of_kind(documents, "Deployment")
    assert {part["metadata"]["name"] for part in parts} == {
        "demo-api", "demo-worker", "demo-code", "demo-webserver", "demo-daemon",
    }  # fmt: skip
    for part in [*parts, *of_kind(documents, "Job")]:
        pod = part["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]
        # What a worker does when it hangs is its supervisor's to see.
        if part["kind"] == "Deployment" and not part["metadata"]["name"].endswith("worker"):
            assert "startupProbe" in container
        told = {one["secretRef"]["name"] for one in container["envFrom"] if "secretRef" in one}
        assert ("crew-owner" in told) == (part["kind"] == "Job")


def test_dagster_takes_the_instance_of_the_chart() -> None:
    launcher = pytest.importorskip("dagster_k8s").K8sRunLauncher
    from dagster._config import process_config

    shown = next(one for one in of_kind(rendered(*EVERYTHING), "ConfigMap") if "dagster.yaml" in one["data"])
    instance = yaml.safe_load(shown["data"]["dagster.yaml"])
    own = yaml.safe_load((TOP / "dagster.yaml").read_text())
    assert {name: value for name, value in instance.items() if name != "run_launcher"} == own
    taken = process_config(launcher.config_type(), instance["run_launcher"]["config"])
    assert taken.success, taken.errors
    workspace = yaml.safe_load(shown["data"]["workspace.yaml"])
    assert workspace["load_from"][0]["grpc_server"]["host"] == "demo-code"


def test_the_instances_are_all_that_of_crew_up() -> None:
    own = (TOP / "dagster.yaml").read_text()
    assert (CHART / "files" / "dagster.yaml").read_text() == own
    assert (DEPLOY / "container" / "dagster.yaml").read_text() == own


def test_the_version_of_the_chart_is_told(tmp_path: Path) -> None:
    subprocess.run([tool("helm"), "lint", "--strict", CHART], check=True, capture_output=True)
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) <= set(schema["properties"])


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        text = unit.read_text().replace("/opt/crew/.venv/bin", str(BIN)).replace("/opt/crew", str(TOP))
        (tmp_path / unit.name).write_text(text)
    units = sorted(tmp_path.iterdir())
    assert len(units) == 6
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "crew" in line] == []
    for unit in units[:-1]:
        if unit.suffix == ".service":
            told = subprocess.run(
                [analyze, "security", "--offline=true", "--no-pager", "--threshold=25", unit],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert told.returncode == 0, told.stdout[-500:]


def test_the_containerfile_has_no_faults() -> None:
    subprocess.run([tool("hadolint"), DEPLOY / "Containerfile"], check=True, capture_output=True)
    kept = {line.lstrip("!") for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in (DEPLOY / "Containerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in [part for part in line.split()[1:-1] if not part.startswith("--")]:
                assert (TOP / source).exists()
                assert any(source == name or source.startswith(f"{name}/") for name in kept), source
