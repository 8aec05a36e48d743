"""What KubeRay 1.7 reads of a RayCluster and a RayJob, as a JSON Schema; every pod by Kubernetes' own strict schema.

KubeRay's resource definitions are a megabyte each, nearly all of it Kubernetes' PodTemplateSpec several times over.
That one comes from the package kubernetes-validate. What KubeRay adds are the fields below, without those of its
feature gates. `test_the_fields_are_those_of_kuberay` compares them with the real definitions where they are at hand.
"""

from __future__ import annotations

from typing import Any

POD = "https://kubernetes.io/api/_definitions.json#/$defs/io.k8s.api.core.v1."
META = "https://kubernetes.io/api/_definitions.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

TEXT, FLAG, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
NAMES = {"type": "object", "additionalProperties": TEXT}


def of_kubernetes(name: str) -> dict[str, str]:
    """A definition of Kubernetes' core API."""
    return {"$ref": POD + name}


def listed(item: dict[str, Any]) -> dict[str, Any]:
    """A list of such items."""
    return {"type": "array", "items": item}


def one_of(*values: str) -> dict[str, Any]:
    """One of these words."""
    return {"type": "string", "enum": list(values)}


def fields(*required: str, **known: dict[str, Any]) -> dict[str, Any]:
    """An object with these fields and no other."""
    return {"type": "object", "properties": known, "required": list(required), "additionalProperties": False}


AUTOSCALER = fields(
    resources=of_kubernetes("ResourceRequirements"), image=TEXT, imagePullPolicy=TEXT, command=listed(TEXT),
    args=listed(TEXT), securityContext=of_kubernetes("SecurityContext"), idleTimeoutSeconds=NUMBER,
    upscalingMode=one_of("Default", "Aggressive", "Conservative"), version=one_of("v1", "v2"),
    env=listed(of_kubernetes("EnvVar")), envFrom=listed(of_kubernetes("EnvFromSource")),
    volumeMounts=listed(of_kubernetes("VolumeMount")),
)  # fmt: skip

HEAD = fields(
    "template", template=of_kubernetes("PodTemplateSpec"), rayStartParams=NAMES, resources=NAMES, labels=NAMES,
    enableIngress=FLAG, headService=of_kubernetes("Service"), serviceType=TEXT,
)  # fmt: skip

WORKERS = fields(
    "groupName", "maxReplicas", "minReplicas", "template", groupName=TEXT, template=of_kubernetes("PodTemplateSpec"),
    rayStartParams=NAMES, resources=NAMES, labels=NAMES, replicas=NUMBER, minReplicas=NUMBER, maxReplicas=NUMBER,
    numOfHosts=NUMBER, idleTimeoutSeconds=NUMBER, priority=NUMBER, suspend=FLAG,
    scaleStrategy=fields(workersToDelete=listed(TEXT)),
)  # fmt: skip

CLUSTER = fields(
    "headGroupSpec", rayVersion=TEXT, headGroupSpec=HEAD, workerGroupSpecs=listed(WORKERS),
    enableInTreeAutoscaling=FLAG, autoscalerOptions=AUTOSCALER, suspend=FLAG, managedBy=TEXT,
    authOptions=fields(mode=one_of("disabled", "token"), secretName=TEXT, enableK8sTokenAuth=FLAG),
    headServiceAnnotations=NAMES, upgradeStrategy=fields(type=one_of("Recreate", "None")),
)  # fmt: skip

JOB = fields(
    entrypoint=TEXT, entrypointNumCpus={"type": "number"}, entrypointNumGpus={"type": "number"},
    entrypointResources=TEXT, runtimeEnvYAML=TEXT, metadata=NAMES, jobId=TEXT, rayClusterSpec=CLUSTER,
    clusterSelector=NAMES, submitterPodTemplate=of_kubernetes("PodTemplateSpec"),
    submitterConfig=fields(backoffLimit=NUMBER), submissionMode=TEXT, shutdownAfterJobFinishes=FLAG,
    ttlSecondsAfterFinished=NUMBER, activeDeadlineSeconds=NUMBER, backoffLimit=NUMBER,
    preRunningDeadlineSeconds={"type": "integer", "minimum": 1}, suspend=FLAG, managedBy=TEXT,
)  # fmt: skip

SPECS = {"RayCluster": CLUSTER, "RayJob": JOB}


def manifest(kind: str) -> dict[str, Any]:
    """The whole file of one kind, as `kubectl apply` takes it."""
    known = {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": kind}, "metadata": {"$ref": META}}
    return fields("apiVersion", "kind", "metadata", "spec", **known, spec=SPECS[kind])
