"""The door to a queue: which kind an address names."""

from __future__ import annotations

from pathlib import Path

from cropmask.errors import Misconfigured, doubt_address
from cropmask.queue.protocol import Queue, QueueOptions


def open_queue(address: str, options: QueueOptions | None = None) -> Queue:
    """Queue of an address; nothing is touched yet.

    Parameters
    ----------
    address
        URL of an SQS queue (``https://sqs...``), or a folder, which need not exist.
    options
        How to reach SQS.

    Raises
    ------
    Misconfigured
        If the address is neither.
    """
    if address.startswith(("http://", "https://")):
        from cropmask.queue.sqs import SqsQueue  # boto3 takes a while: only where it is needed

        return SqsQueue(address, options or QueueOptions())
    doubt = doubt_address(address, ("http", "https"))
    if doubt or "://" in address or not address.strip():
        raise Misconfigured(
            f"'{address}' is no queue{doubt or ':'} give the URL of an SQS queue (https://sqs...) "
            "or a folder"
        )
    from cropmask.queue.folder import FolderQueue

    return FolderQueue(Path(address))
