"""A PostgreSQL cluster of the tests' own, on loopback and on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

USER = "postgres"
SECONDS = 120


def find_programs() -> Path | None:
    """Folder of the newest ``initdb`` and ``pg_ctl``; None if there are none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if found:
        return found[-1].parent
    here = shutil.which("initdb")
    return Path(here).parent if here else None


needs_postgres = pytest.mark.skipif(
    find_programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql"
)


@dataclass(frozen=True)
class Cluster:
    """A running cluster with an empty database."""

    port: int

    def url(self, database: str = "postgres") -> str:
        """Address for the Open Data Cube."""
        return f"postgresql+psycopg2://{USER}@127.0.0.1:{self.port}/{database}"


@contextmanager
def run_postgres() -> Iterator[Cluster]:
    """Start a cluster, and take it away afterwards.

    PostgreSQL refuses to run as root: then it runs as the user ``postgres``.
    """
    programs = find_programs()
    assert programs is not None, "PostgreSQL is not installed"
    folder = Path(mkdtemp(prefix="cropmask-pg-"))
    owner = pwd.getpwnam(USER) if os.getuid() == 0 else None
    who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"

    def call(*words: object) -> None:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            **who,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        call(programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-N", "-E", "UTF8")
        port = _start(call, programs, folder, data)
        try:
            yield Cluster(port)
        finally:
            call(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(call, programs: Path, folder: Path, data: Path) -> int:
    """Start on a port that was free a moment ago; if another took it, on the next one."""
    for attempt in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} "
            # Nothing here outlives the test.
            "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        )
        try:
            call(
                *(programs / "pg_ctl", "-D", data, "-w", "-t", SECONDS),
                *("-l", folder / "log", "-o", options, "start"),
            )
            return port
        except AssertionError:
            if attempt == 4:
                raise AssertionError((folder / "log").read_text()) from None
            time.sleep(0.2)
    raise AssertionError("unreachable")
