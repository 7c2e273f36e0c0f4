"""What Kubernetes documents refer to by name, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Document = dict[str, Any]

ARGO_CONTAINER = "main"
"""Argo's own name of the container of a step."""


def missing_references(
    documents: Iterable[Document], elsewhere: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """References to containers, volumes, accounts, maps, secrets and ports that lead nowhere.

    ``elsewhere`` are kinds and names of what somebody else makes, such as a secret.
    """
    every = list(documents)
    there = {(document["kind"], document["metadata"]["name"]) for document in every}
    there |= set(elsewhere)
    found = []
    for document in every:
        name = f"{document['kind']} {document['metadata']['name']}"
        wanted = [*_of_object(document), *_of_workflow(document)]
        for pod in (*pods_of(document), *_steps_of(document)):
            wanted += _of_pod(pod)
            found += [f"{name}: {problem}" for problem in _inside(pod)]
        for policy, pod in _failure_policies(document):
            found += [
                f"{name}: podFailurePolicy names container {container}"
                for container in policy
                if container not in _containers(pod)
            ]
        found += [f"{name}: no {kind} {of}" for kind, of in wanted if (kind, of) not in there]
    return found


def pods_of(value: Any) -> Iterator[Document]:
    """Every pod in a document, wherever it stands."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pods_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pods_of(inner)


def make_pods(document: Document) -> Iterator[Document]:
    """Every pod of a document as a document, as the server is sent it when its time has come."""
    namespace = document["metadata"].get("namespace", "default")
    for number, pod in enumerate((*pods_of(document), *_steps_of(document))):
        name = f"{document['kind'].lower()}-{document['metadata']['name']}-{number}"
        metadata = {"name": name, "namespace": namespace}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


def _steps_of(document: Document) -> Iterator[Document]:
    """Pods of a workflow's steps; volumes, account and user are those of the workflow."""
    if document["kind"] == "WorkflowTemplate":
        spec = document["spec"]
        shared = ("serviceAccountName", "automountServiceAccountToken", "securityContext")
        for template in spec["templates"]:
            if "container" in template:
                volumes = [*spec.get("volumes", ()), *template.get("volumes", ())]
                own = ("serviceAccountName", "nodeSelector", "tolerations")
                yield {
                    **{key: spec[key] for key in shared if key in spec},
                    **{key: template[key] for key in own if key in template},
                    "restartPolicy": "Never",
                    "containers": [{**template["container"], "name": ARGO_CONTAINER}],
                    "volumes": volumes,
                }


def _containers(pod: Document) -> set[str]:
    return {each["name"] for each in (*pod["containers"], *pod.get("initContainers", ()))}


def _inside(pod: Document) -> Iterator[str]:
    """References of containers to their own pod."""
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        for variable in container.get("env", ()):
            field = variable.get("valueFrom", {}).get("resourceFieldRef", {})
            if field.get("containerName", container["name"]) not in _containers(pod):
                yield f"{variable['name']} comes from container {field['containerName']}"
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                yield f"no volume {mount['name']}"
        ports = {port.get("name") for port in container.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            if isinstance(port, str) and port not in ports:
                yield f"no port {port}"


def _of_pod(pod: Document) -> Iterator[tuple[str, str]]:
    """Objects beside a pod that it names; what is optional may be absent."""
    if "serviceAccountName" in pod:
        yield "ServiceAccount", pod["serviceAccountName"]
    for volume in pod.get("volumes", ()):
        for key, kind, word in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            if key in volume and not volume[key].get("optional"):
                yield kind, volume[key][word]
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        sources = [*container.get("envFrom", ())]
        sources += [variable.get("valueFrom", {}) for variable in container.get("env", ())]
        for source in sources:
            for key, kind in (
                ("configMapRef", "ConfigMap"),
                ("secretRef", "Secret"),
                ("configMapKeyRef", "ConfigMap"),
                ("secretKeyRef", "Secret"),
            ):
                if key in source and not source[key].get("optional"):
                    yield kind, source[key]["name"]


def _of_object(document: Document) -> Iterator[tuple[str, str]]:
    if "roleRef" in document:
        yield document["roleRef"]["kind"], document["roleRef"]["name"]
    for subject in document.get("subjects", ()):
        yield subject["kind"], subject["name"]
    for trigger in document.get("spec", {}).get("triggers", ()):
        reference = trigger.get("authenticationRef")
        if reference:
            yield reference.get("kind", "TriggerAuthentication"), reference["name"]
    if document["kind"] == "WorkflowTemplate" and "serviceAccountName" in document["spec"]:
        yield "ServiceAccount", document["spec"]["serviceAccountName"]


def _of_workflow(document: Document) -> Iterator[tuple[str, str]]:
    """Templates of a workflow that its steps name and that are not there."""
    if document["kind"] == "CronWorkflow":
        yield "WorkflowTemplate", document["spec"]["workflowSpec"]["workflowTemplateRef"]["name"]
    if document["kind"] != "WorkflowTemplate":
        return
    spec = document["spec"]
    names = {template["name"] for template in spec["templates"]}
    wanted = {spec["entrypoint"]}
    for template in spec["templates"]:
        wanted |= {step["template"] for steps in template.get("steps", ()) for step in steps}
        wanted |= {task["template"] for task in template.get("dag", {}).get("tasks", ())}
    yield from (("template", name) for name in sorted(wanted - names))


def _failure_policies(value: Any) -> Iterator[tuple[list[str], Document]]:
    """Containers that the failure policy of a Job names, and the pod of that Job."""
    if isinstance(value, dict):
        if "podFailurePolicy" in value:
            rules = value["podFailurePolicy"]["rules"]
            named = [rule.get("onExitCodes", {}).get("containerName") for rule in rules]
            yield [name for name in named if name], value["template"]["spec"]
        for inner in value.values():
            yield from _failure_policies(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _failure_policies(inner)
