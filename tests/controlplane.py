"""A real Kubernetes control plane on loopback, from programs that somebody has built.

They are looked for in the folder that CROPMASK_TEST_K8S names, else in ``~/.cache/k8s-lab``:
``bin/kube-apiserver``, ``bin/kube-controller-manager`` and ``etcd`` (in ``bin`` or on the path).
There is no node: :class:`FakeNode` says of pods what a kubelet would.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes import client, config

FOLDER = Path(os.environ.get("CROPMASK_TEST_K8S") or Path.home() / ".cache" / "k8s-lab")
TOKEN = "test-token"
START_SECONDS = 90


@dataclass(frozen=True)
class Programs:
    etcd: Path
    apiserver: Path
    controllers: Path


def find_programs() -> Programs | None:
    """The programs; None if one is missing."""
    etcds = [FOLDER / "bin" / "etcd", FOLDER / "deb" / "root" / "usr" / "bin" / "etcd"]
    etcds += [Path(found)] if (found := shutil.which("etcd")) else []
    etcd = next((path for path in etcds if path.is_file()), None)
    api, controllers = (
        FOLDER / "bin" / name for name in ("kube-apiserver", "kube-controller-manager")
    )
    if etcd is None or not (api.is_file() and controllers.is_file()):
        return None
    return Programs(etcd, api, controllers)


@dataclass(frozen=True)
class ControlPlane:
    kubeconfig: Path
    url: str
    authority: Path
    """Certificate that the server shows."""
    core: Any
    """``client.CoreV1Api``."""
    minor: int
    """Version of the server: 20 for 1.20."""


def free_ports(number: int) -> list[int]:
    """Ports that are free now: all are taken before the first is let go."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def running(folder: Path, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(what: str, ready: Callable[[], bool], *processes: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            pytest.fail(f"a program ended before {what}")
        if ready():
            return
        time.sleep(0.1)
    pytest.fail(f"{what} took longer than {START_SECONDS} s")


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start etcd, the API server and the controllers of Jobs; stop them afterwards."""
    programs = find_programs()
    if programs is None:
        pytest.skip(
            f"no Kubernetes control plane in {FOLDER}: build kube-apiserver and "
            "kube-controller-manager into its bin, or name another folder with CROPMASK_TEST_K8S"
        )
    etcd_port, peer_port, port, controller_port = free_ports(4)
    etcd_url, peer_url = (f"http://127.0.0.1:{number}" for number in (etcd_port, peer_port))
    (folder / "certs").mkdir(parents=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (folder / "certs/sa.key").write_bytes(pem)
    (folder / "certs/tokens.csv").write_text(
        f'{TOKEN},admin,admin,"system:masters"\nnobody,nobody,nobody,"nobodies"\n'
    )
    url = f"https://127.0.0.1:{port}"
    authority = folder / "certs" / "apiserver.crt"  # which the server makes and signs itself
    kubeconfig = put_kubeconfig(folder / "kubeconfig", url, TOKEN, authority)
    with ExitStack() as stack:
        etcd = stack.enter_context(
            running(
                folder,
                "etcd",
                [
                    *(str(programs.etcd), "--data-dir", str(folder / "etcd")),
                    *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
                    *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
                    *("--initial-cluster", f"default={peer_url}"),
                ],
            )
        )
        api = stack.enter_context(
            running(
                folder,
                "apiserver",
                [
                    str(programs.apiserver),
                    f"--etcd-servers={etcd_url}",
                    *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"),
                    f"--secure-port={port}",
                    *("--cert-dir=certs", "--service-cluster-ip-range=10.0.0.0/24"),
                    "--service-account-issuer=https://kubernetes.default.svc",
                    "--service-account-key-file=certs/sa.key",
                    "--service-account-signing-key-file=certs/sa.key",
                    *("--token-auth-file=certs/tokens.csv", "--authorization-mode=RBAC"),
                    "--disable-admission-plugins=ServiceAccount",
                    "--feature-gates=TTLAfterFinished=true",
                ],
            )
        )
        wait_for("the API server was ready", lambda: is_ready(url, authority), etcd, api)
        controllers = stack.enter_context(
            running(
                folder,
                "controllers",
                [
                    *(str(programs.controllers), f"--kubeconfig={kubeconfig}"),
                    *("--bind-address=127.0.0.1", f"--secure-port={controller_port}", "--port=0"),
                    *("--leader-elect=false", "--cert-dir=certs"),
                    "--controllers=job,garbagecollector,ttl-after-finished,namespace,podgc,resourcequota",
                    "--feature-gates=TTLAfterFinished=true",
                ],
            )
        )
        settings = client.Configuration()
        config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings)
        core = client.CoreV1Api(client.ApiClient(settings))
        wait_for("the API answered", lambda: has_default(core), etcd, api, controllers)
        version = client.VersionApi(core.api_client).get_code().minor
        yield ControlPlane(kubeconfig, url, authority, core, int(version.rstrip("+")))


def put_kubeconfig(path: Path, url: str, token: str, authority: Path) -> Path:
    server = {"server": url, "certificate-authority": str(authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "x", "cluster": server}],
        "users": [{"name": "x", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def is_ready(url: str, authority: Path) -> bool:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with suppress(OSError):  # refused, or no certificate yet
        return requests.get(f"{url}/readyz", headers=headers, verify=authority, timeout=5).ok
    return False


def has_default(core: Any) -> bool:
    return any(found.metadata.name == "default" for found in core.list_namespace().items)


Fate = Callable[[str, int], int | None]
"""Exit code of a pod, by its Job's name and how many of the Job's pods ended before; None to let
it run on."""


@dataclass
class FakeNode:
    """Says of every pod of a namespace what a kubelet would: that it runs, and how it ended."""

    plane: ControlPlane
    namespace: str
    fate: Fate
    ended: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> FakeNode:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(0.1):
            for pod in self.plane.core.list_namespaced_pod(self.namespace).items:
                if (
                    pod.status.phase in ("Pending", "Running")
                    and not pod.metadata.deletion_timestamp
                ):
                    self._see(pod)

    def _see(self, pod: Any) -> None:
        job = (pod.metadata.labels or {}).get("job-name", "")
        code = self.fate(job, self.ended.get(job, 0))
        if code is None:
            return
        self.ended[job] = self.ended.get(job, 0) + 1
        name = pod.spec.containers[0].name
        state = {"terminated": {"exitCode": code, "reason": "Completed" if not code else "Error"}}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [
                {
                    "name": name,
                    "image": "x",
                    "imageID": "x",
                    "ready": False,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        with suppress(client.exceptions.ApiException):
            self.plane.core.patch_namespaced_pod_status(
                pod.metadata.name, self.namespace, {"status": status}
            )
