"""A bucket of moto's, filled with a folder, in a process that counts what is asked of it.

    python -m benchmarks.motobucket FOLDER

Prints its address; the bucket is ``world``. ``GET /_counts`` tells requests and bytes by path since
the last time, as of :mod:`benchmarks.rangeserver`. It shows that the reader speaks S3; moto reads
objects whole to send a part, so it tells nothing of speed.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from benchmarks.rangeserver import COUNTS, Counts

BUCKET = "world"


def count_requests(application: Any, counts: Counts) -> Callable[..., Iterable[bytes]]:  # noqa: ANN401 (WSGI)
    """The application, counted."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == COUNTS:
            body = json.dumps(counts.take()).encode()
            start("200 OK", [("Content-Length", str(len(body)))])
            return [body]

        def begin(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:  # noqa: ANN401
            length = {name.lower(): value for name, value in headers}.get("content-length", "0")
            counts.add(path, int(length) if environ["REQUEST_METHOD"] == "GET" else 0)
            return start(status, headers, *rest)

        return application(environ, begin)

    return answer


def fill(folder: Path, url: str) -> None:
    """Put all files of a folder into the bucket."""
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
    )
    client.create_bucket(Bucket=BUCKET)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = str(path.relative_to(folder))
            client.upload_file(str(path), BUCKET, key, ExtraArgs={"ACL": "public-read"})


def main() -> None:
    """Serve until the process is ended."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    counts = Counts()
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, count_requests(application, counts), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    fill(Path(sys.argv[1]), url)
    counts.take()
    print(url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
