"""The manifests for KubeRay: every field at every depth, and what no schema says."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource

from tests.deploy import kuberay_schema
from tests.deploy.files import pinned, project, read

MANIFESTS = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml"]
KUBERNETES = "v1.37.0-local-strict"
CRDS = os.environ.get("PROTEA_RAY_KUBERAY_CRDS")  # helm-chart/kuberay-operator/crds of KubeRay 1.7


@pytest.fixture(scope="module")
def kubernetes() -> Registry[Any]:
    """Kubernetes' own definitions, in which no unknown field is allowed."""
    package = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed: pip install .[dev]"
    )
    file = resources.files(package) / "kubernetes-json-schema" / KUBERNETES / "_definitions.json"
    definitions = json.loads(file.read_text(encoding="utf-8"))
    resource = Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **definitions})
    return Registry().with_resource("https://kubernetes.io/api/_definitions.json", resource)


def problems(document: Any, registry: Registry[Any]) -> list[str]:
    """Where a manifest is not one, and why; nothing when it is."""
    schema = kuberay_schema.manifest(document["kind"])
    found = jsonschema.Draft202012Validator(schema, registry=registry).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def own_copy(document: Any) -> Any:
    """The same document without YAML's shared parts, so that one place is changed and no other."""
    return json.loads(json.dumps(document))


def at(document: Any, path: str) -> Any:
    """The part of a document at a path of keys and numbers."""
    for step in path.split("/"):
        document = document[int(step) if step.isdigit() else step]
    return document


def cluster_of(document: Any) -> Any:
    """The cluster of a RayCluster, or of a RayJob."""
    return document["spec"].get("rayClusterSpec", document["spec"])


def pods(document: Any) -> Iterator[Any]:
    """The specification of every pod."""
    cluster = cluster_of(document)
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    yield from (group["template"]["spec"] for group in groups)
    if "submitterPodTemplate" in document["spec"]:
        yield document["spec"]["submitterPodTemplate"]["spec"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_field_is_one_that_is_read(name: str, kubernetes: Registry[Any]) -> None:
    assert problems(read(name), kubernetes) == []


WORKER = "spec/rayClusterSpec/workerGroupSpecs/0"
CONTAINER = f"{WORKER}/template/spec/containers/0"


@pytest.mark.parametrize(
    ("place", "key", "value", "said"),
    [
        ("spec", "entryPoint", "python", "'entryPoint' was unexpected"),
        ("spec", "submissionmode", "K8sJobMode", "'submissionmode' was unexpected"),
        ("spec", "backoffLimit", "three", "'three' is not of type"),
        ("spec/rayClusterSpec", "enableInTreeAutoScaling", True, "was unexpected"),
        ("spec/rayClusterSpec/autoscalerOptions", "version", "v3", "'v3' is not one of"),
        ("spec/rayClusterSpec/authOptions", "mode", "tokens", "'tokens' is not one of"),
        ("spec/rayClusterSpec/headGroupSpec/rayStartParams", "num-cpus", 3, "3 is not of type"),
        (WORKER, "replicas", "0", "'0' is not of type"),
        (WORKER, "maxReplica", 8, "'maxReplica' was unexpected"),
        (f"{WORKER}/template/spec", "toleration", [], "'toleration' was unexpected"),
        (f"{WORKER}/template/spec/tolerations/0", "operators", "Exists", "'operators' was unexpected"),
        (f"{WORKER}/template/spec/securityContext", "runAsNonRoot", "yes", "'yes' is not of type"),
        (f"{WORKER}/template/spec/volumes/0/emptyDir", "sizelimit", "1Gi", "'sizelimit' was unexpected"),
        (CONTAINER, "resource", {}, "'resource' was unexpected"),
        (f"{CONTAINER}/securityContext/capabilities", "drop", "ALL", "'ALL' is not of type"),
        (f"{CONTAINER}/envFrom/0/secretRef", "names", "x", "'names' was unexpected"),
        (f"{CONTAINER}/env/0", "value", 10, "10 is not of type"),
    ],
)
def test_a_mistake_at_any_depth_is_found(
    place: str, key: str, value: Any, said: str, kubernetes: Registry[Any]
) -> None:
    broken = own_copy(read("kuberay/rayjob.yaml"))
    at(broken, place)[key] = value

    found = problems(broken, kubernetes)

    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("field", ["groupName", "minReplicas", "maxReplicas", "template"])
def test_a_missing_field_is_found(name: str, field: str, kubernetes: Registry[Any]) -> None:
    broken = own_copy(read(name))
    del cluster_of(broken)["workerGroupSpecs"][0][field]

    assert [problem for problem in problems(broken, kubernetes) if f"'{field}' is a required property" in problem]


# what no schema says


def test_both_have_the_same_cluster() -> None:
    cluster, job = map(read, MANIFESTS)

    assert cluster_of(job) == cluster["spec"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_ray_is_the_one_of_the_image(name: str) -> None:
    document = read(name)

    assert cluster_of(document)["rayVersion"] == pinned("ray")
    images = {container["image"] for pod in pods(document) for container in pod["containers"]}
    assert images == {f"your-registry/protea-ray:{project()['version']}"}
    assert images == {read("ray-up/cluster.yaml")["docker"]["image"]}


@pytest.mark.parametrize("name", MANIFESTS)
def test_no_pod_is_privileged(name: str) -> None:
    for pod in pods(read(name)):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert all("value" in variable and "TOKEN" not in variable["name"] for variable in container.get("env", []))


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_a_pod_mounts_is_there_and_fits(name: str) -> None:
    for pod in pods(read(name)):
        sizes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            limits, mounts = container["resources"]["limits"], container.get("volumeMounts", [])
            assert {mount["name"] for mount in mounts} == set(sizes)
            if mounts:
                assert {"name": "shm", "mountPath": "/dev/shm"} in mounts
                assert gibibytes(sizes["shm"]) < gibibytes(limits["memory"]) / 2
                assert gibibytes(sizes["cache"]) < gibibytes(limits["ephemeral-storage"])
                assert container["resources"]["requests"] == limits  # the last to be evicted


def gibibytes(quantity: str) -> int:
    """Of `5Gi`; other units are an error."""
    return int(quantity.removesuffix("Gi"))


@pytest.mark.parametrize("name", MANIFESTS)
def test_gpu_nodes_come_and_go(name: str) -> None:
    cluster = cluster_of(read(name))
    (workers,) = cluster["workerGroupSpecs"]
    pod = workers["template"]["spec"]
    (container,) = pod["containers"]

    assert cluster["enableInTreeAutoscaling"]
    assert 0 == workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert any("spot" in label for label in pod["nodeSelector"])
    assert all(
        any(taint["key"] == label and taint["value"] == value for taint in pod["tolerations"])
        for label, value in pod["nodeSelector"].items()
    )
    (drain,) = [v["value"] for v in container["env"] if v["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]
    assert 0 < float(drain) < pod["terminationGracePeriodSeconds"]


def test_the_job_asks_for_the_gpus_that_the_group_may_have() -> None:
    job = read("kuberay/rayjob.yaml")
    words = shlex.split(job["spec"]["entrypoint"])
    (workers,) = cluster_of(job)["workerGroupSpecs"]

    assert words[words.index("--device") + 1] == "cuda"
    assert int(words[words.index("--actors") + 1]) == workers["maxReplicas"]
    assert job["spec"]["submissionMode"] == "K8sJobMode"  # `ray job submit`, as tests/deploy/test_entry.py runs it
    assert job["spec"]["submitterPodTemplate"]["spec"]["restartPolicy"] in ("Never", "OnFailure")


# where KubeRay's own definitions are at hand: PROTEA_RAY_KUBERAY_CRDS names their folder


def definition(kind: str) -> Any:
    """The schema of a kind's specification, from KubeRay's own file; it is skipped where there is none."""
    if not CRDS:
        pytest.skip("PROTEA_RAY_KUBERAY_CRDS does not name KubeRay's folder of resource definitions")
    whole = yaml.safe_load((Path(CRDS) / f"ray.io_{kind.lower()}s.yaml").read_text(encoding="utf-8"))
    (version,) = [version for version in whole["spec"]["versions"] if version["name"] == "v1"]
    return strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def strict(schema: Any) -> Any:
    """The same schema as one of JSON: nothing unknown, and numbers where Kubernetes takes them for text."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        changed["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        changed = {"type": ["integer", "string"]}
    return changed


@pytest.mark.parametrize("name", MANIFESTS)
def test_kuberay_s_own_definition_agrees(name: str) -> None:
    document = read(name)
    found = jsonschema.Draft202012Validator(definition(document["kind"])).iter_errors(document["spec"])

    assert [error.message for error in found] == []


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_the_fields_are_those_of_kuberay(kind: str) -> None:
    compare(kuberay_schema.SPECS[kind], definition(kind), kind)


def compare(ours: Any, theirs: Any, where: str) -> None:
    """Fail where a field of ours is none of theirs, or is another kind of thing."""
    if "$ref" in ours:
        assert "properties" in theirs, where
        return
    assert (ours["type"], ours.get("enum")) == (theirs["type"], theirs.get("enum")), where
    assert set(ours.get("required", [])) == set(theirs.get("required", [])), where
    for name, field in ours.get("properties", {}).items():
        assert name in theirs["properties"], f"{where}.{name}"
        compare(field, theirs["properties"][name], f"{where}.{name}")
    if "items" in ours:
        compare(ours["items"], theirs["items"], f"{where}[]")
