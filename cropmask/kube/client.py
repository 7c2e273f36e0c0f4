"""Jobs of a real cluster, through the Kubernetes client; its errors become ours here."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import yaml
from pydantic import ValidationError

from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason, not_installed
from cropmask.kube.protocol import JobState, no_such_job, parse_job
from cropmask.kube.workermanifests import Manifest

try:
    from kubernetes import client, config, watch
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException
    from urllib3.exceptions import HTTPError
except ImportError:
    raise not_installed("kubernetes") from None

TIMEOUT: Final = (10, 60)
"""Seconds to connect, and to wait for an answer."""
WATCH_SECONDS: Final = 45
"""Length of one watch; it is renewed without end."""
MAX_WATCH_FAILURES: Final = 8
"""Failures in a row that a watch sits out, with waits that double from half a second."""

log = logging.getLogger(__name__)


class KubeCluster:
    """Jobs of one namespace of a cluster."""

    def __init__(self, namespace: str, kubeconfig: str | None = None) -> None:
        self.namespace = namespace
        settings = client.Configuration()
        try:
            _load(kubeconfig, settings)
        except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError) as error:
            raise Misconfigured(
                f"no Kubernetes cluster is configured: {error}: set KUBECONFIG, or run "
                "'aws eks update-kubeconfig --name CLUSTER'",
                reason=Reason.NO_CLUSTER,
            ) from None
        self._api = client.BatchV1Api(client.ApiClient(settings))

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> bool:
        """Create a Job, if the cluster takes every part of it that matters."""
        tried = self._post(manifest, dry_run=True)
        if tried is None:
            return False
        _check_kept(manifest, tried)
        return dry_run or self._post(manifest, dry_run=False) is not None

    def _post(self, manifest: Manifest, *, dry_run: bool) -> Manifest | None:
        """The Job as the cluster has it; None if there is one of this name."""
        extra = {"dry_run": "All"} if dry_run else {}
        try:
            return self._ask(
                self._api.create_namespaced_job, body=manifest, field_validation="Strict", **extra
            )
        except _Refused as error:
            if error.status == 409:
                return None
            raise _translate_status(
                error, f"Job {manifest['metadata']['name']}", self.namespace
            ) from None

    def get(self, name: str) -> JobState | None:
        """A Job; None if there is none."""
        try:
            return parse_job(self._ask(self._api.read_namespaced_job, name=name))
        except _Refused as error:
            if error.status == 404:
                return None
            raise _translate_status(error, f"Job {name}", self.namespace) from None

    def watch(self, name: str) -> Iterator[JobState]:
        """A Job at each change until it has ended; connections may break meanwhile."""
        last: JobState | None = None
        failures = 0
        while last is None or not last.is_ended:
            try:
                state = self.get(name)
                failures = 0
            except Interrupted:
                failures += 1
                if failures > MAX_WATCH_FAILURES:
                    raise
                time.sleep(0.25 * 2**failures)
                continue
            if state is None:
                raise no_such_job(name, self.namespace)
            if state != last:
                last = state
                yield state
            if not state.is_ended:
                self._wait(state)

    def _wait(self, state: JobState) -> None:
        """Wait until a Job is not as it was, or for a while."""
        changes = watch.Watch()
        try:
            for _ in changes.stream(
                self._api.list_namespaced_job,
                self.namespace,
                field_selector=f"metadata.name={state.name}",
                resource_version=state.version,
                timeout_seconds=WATCH_SECONDS,
                _request_timeout=(TIMEOUT[0], WATCH_SECONDS + TIMEOUT[1]),
            ):
                return
        except (ApiException, HTTPError, OSError, ValueError):
            time.sleep(0.5)  # what is wrong shows when the Job is read again
        finally:
            changes.stop()

    def find(self, labels: Mapping[str, str]) -> tuple[JobState, ...]:
        """Jobs with some labels."""
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        try:
            found = self._ask(self._api.list_namespaced_job, label_selector=selector)
        except _Refused as error:
            raise _translate_status(error, f"Jobs with {selector}", self.namespace) from None
        return tuple(sorted(map(parse_job, found["items"]), key=lambda state: state.name))

    def delete(self, name: str) -> bool:
        """Delete a Job and, after their grace, its pods."""
        try:
            self._ask(self._api.delete_namespaced_job, name=name, propagation_policy="Background")
        except _Refused as error:
            if error.status == 404:
                return False
            raise _translate_status(error, f"Job {name}", self.namespace) from None
        return True

    def _ask(self, call: Callable[..., Any], **words: Any) -> Manifest:  # noqa: ANN401
        """Answer of the API as plain JSON; its refusals as they are."""
        try:
            answer = call(
                namespace=self.namespace,
                _preload_content=False,
                _request_timeout=TIMEOUT,
                **words,
            )
        except ApiException as error:
            raise _Refused(error.status or 0, _message(error)) from None
        except ValidationError as error:  # the client knows the fields as well
            raise _Refused(422, str(error)) from None
        except (HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        try:
            found: Manifest = json.loads(answer.data)
        except (HTTPError, OSError, ValueError) as error:
            raise self._unreachable(error) from None
        return found

    def _unreachable(self, error: Exception) -> Interrupted:
        return Interrupted(
            f"the Kubernetes API at {self._api.api_client.configuration.host} cannot be reached "
            f"({type(error).__name__}): check the network and the kubeconfig, or try again later",
            reason=Reason.UNREACHABLE,
        )


class _Refused(Exception):
    """An answer of the API that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _load(kubeconfig: str | None, settings: Any) -> None:  # noqa: ANN401 (the client has no types)
    """Configuration of a file, as kubectl finds it, else of the pod that this runs in."""
    try:
        config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
    except ConfigException:
        if kubeconfig is not None:
            raise
        try:
            config.load_incluster_config(client_configuration=settings)
        except ConfigException:
            raise ConfigException("there is no kubeconfig") from None


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason)


def _translate_status(error: _Refused, what: str, namespace: str) -> CropmaskError:
    """What an answer other than success means."""
    if error.status in (401, 403):
        return Misconfigured(
            f"Kubernetes denies access to {what} in namespace {namespace}: {error}: check the "
            "credentials and the role",
            reason=Reason.ACCESS_DENIED,
        )
    if error.status == 404:
        return Misconfigured(
            f"Kubernetes has no namespace {namespace}: create it, or name another with --namespace",
            reason=Reason.NO_CLUSTER,
        )
    if error.status in (400, 415, 422):
        return Misconfigured(f"Kubernetes refuses {what}: {error}", reason=Reason.BAD_MANIFEST)
    return Interrupted(
        f"Kubernetes answered {error.status} for {what}: {error}: try again later",
        reason=Reason.UNREACHABLE,
    )


def _check_kept(manifest: Manifest, answer: Manifest) -> None:
    """Old servers drop what they do not know: without an index, pods would do each other's work."""
    dropped = [name for name in manifest["spec"] if name not in answer["spec"]]
    if {"completionMode", "backoffLimitPerIndex"} & set(dropped):
        raise Misconfigured(
            "this Kubernetes is too old for Indexed Jobs with a limit per index, which came with "
            "version 1.29: use a queue instead of --direct",
            reason=Reason.NO_CLUSTER,
        )
    if dropped:
        log.warning("this Kubernetes is old and leaves out: %s", ", ".join(dropped))
