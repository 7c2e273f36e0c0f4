"""A lease that is kept while somebody works: renewed by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Self

from cropmask.errors import CropmaskError, LeaseLost
from cropmask.queue.protocol import Lease, Queue

_RETRY_SHARE: Final = 0.1
"""Share of a lease after which a renewal that failed is tried again."""

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews a lease at half of its time until it is left; knows when it has been lost.

    Times are of a clock that nobody sets, and count from before a renewal is asked for, so that
    the lease ends here no later than in the queue. Nothing here waits for the queue except the
    thread.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._seconds = seconds
        self._clock = clock
        self._renewed = clock()
        self._lost: LeaseLost | None = None
        self._left = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Renew no more, as before the message is given back."""
        self._left = True
        self._wake.set()
        # A renewal under way may wait long for a server; it does no harm once the work is over.
        self._thread.join(timeout=0.5)

    @property
    def lost(self) -> LeaseLost | None:
        """Why the lease is lost; None while it is held."""
        if self._lost is None and self._clock() >= self._renewed + self._seconds:
            self._lost = LeaseLost("the lease ended before it could be renewed")
        return self._lost

    def ask(self) -> float:
        """Have the lease renewed at once; a mark for :meth:`renewed_since`."""
        mark = self._clock()
        self._wake.set()
        return mark

    def renewed_since(self, mark: float) -> bool:
        """Whether the queue has said since then that the lease is ours."""
        return self._renewed >= mark and self.lost is None

    def _keep(self) -> None:
        wait = self._renewed + self._seconds / 2 - self._clock()
        while True:
            self._wake.wait(max(0.0, wait))
            # Cleared before the renewal: who asks while it is under way gets another one, because
            # the answer to the first may be older than the question.
            self._wake.clear()
            if self._left or self.lost is not None:
                return
            wait = self._seconds / 2 if self._renew() else _RETRY_SHARE * self._seconds

    def _renew(self) -> bool:
        asked = self._clock()
        try:
            self._queue.renew(self._lease, self._seconds)
        except LeaseLost as error:
            self._lost = error
            return False
        except CropmaskError as error:
            log.warning("the lease was not renewed, trying again: %s", error)
            return False
        except Exception:
            log.exception("the lease was not renewed, trying again")
            return False
        self._renewed = asked
        return True
