"""One attempt, as the child computes it: the only part of a worker that loads everything."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import tempfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

from cropmask.errors import CropmaskError, Interrupted, OutOfMemory, Reason
from cropmask.fleet.attempt import BasisOpened, ChildWork, PublishRequest, StageReport
from cropmask.fleet.outcome import Outcome
from cropmask.fleet.records import State
from cropmask.machine.child import Parent
from cropmask.machine.limits import keep_heap_small
from cropmask.machine.stages import Stages, StageUse
from cropmask.remote.localfiles import find_full_disk
from cropmask.remote.retries import find_retries
from cropmask.site.site import Site
from cropmask.tile.job import Basis, open_basis
from cropmask.tile.memory import open_stages
from cropmask.tile.run import run_tile
from cropmask.tile.series import run_series

log = logging.getLogger(__name__)

_NO_MEMORY: Final = ("can't start new thread", "failed to map segment from shared object")
"""What Python says when there is no memory for a thread, or for a library that it loads."""


def compute(parent: Parent, work: ChildWork) -> None:
    """Run a tile and tell the parent what became of it."""
    work.open_logging()
    keep_heap_small()
    _use_folder(work.folder)
    stages = open_stages(
        work.site.memory, lambda name, share: parent.tell(StageReport(name, share))
    )
    try:
        outcome = _run(parent, work, stages)
    except CropmaskError as error:
        outcome = Outcome(error=error)
    except MemoryError:
        outcome = _out_of_memory()
    except (RuntimeError, ImportError) as error:
        is_memory = any(words in str(error) for words in _NO_MEMORY)
        outcome = _out_of_memory() if is_memory else _fault(error)
    except OSError as error:
        refused = Interrupted(f"the system refused: {error}", reason=Reason.SYSTEM)
        is_memory = error.errno == errno.ENOMEM
        outcome = _out_of_memory() if is_memory else Outcome(error=find_full_disk(error) or refused)
    except Exception as error:  # noqa: BLE001 (logged and told to the parent)
        outcome = _fault(error)
    parent.tell(_with_stages(outcome, stages.finish()))


def _fault(error: Exception) -> Outcome:
    log.error("a fault of the program, please report it", exc_info=error)
    what = f"{type(error).__name__}: {error}"
    return Outcome(error=Interrupted(f"a fault of the program: {what}", reason=Reason.FAULT))


def _out_of_memory() -> Outcome:
    return Outcome(
        error=OutOfMemory(
            "the system gives no more memory: give the container more, or fewer --threads",
            reason=Reason.OUT_OF_MEMORY,
        )
    )


def _run(parent: Parent, work: ChildWork, stages: Stages) -> Outcome:
    site = replace(work.site, bands=work.order.bands, seamless=work.order.seamless)
    if work.order.resolution is not None:
        site = replace(site, resolution=work.order.resolution)

    def check() -> None:
        refusal = parent.ask(PublishRequest())
        if refusal is not None:
            raise refusal

    basis = _find_basis(parent, work, site, stages)
    task = work.order.task
    path = run_series if task.period.is_series else partial(run_tile, recipe=work.order.recipe)
    result = path(
        task,
        site,
        overwrite=work.order.overwrite,
        stages=stages,
        check=check,
        basis=basis,
    )
    return Outcome(state=State(result.state), item=result.item, run_key=result.run_key)


def _find_basis(parent: Parent, work: ChildWork, site: Site, stages: Stages) -> Basis:
    """What the tasks of the region share: from an earlier child, else opened for the next ones."""
    if work.basis is not None:
        basis: Basis = pickle.loads(work.basis)  # noqa: S301 (another child of ours has made it)
        return basis
    basis = open_basis(work.order.task.region, site, recipe=work.order.recipe, stages=stages)
    parent.tell(BasisOpened(pickle.dumps(basis)))
    return basis


def _with_stages(outcome: Outcome, stages: tuple[StageUse, ...]) -> Outcome:
    read = [use.bytes for use in stages if use.stage == "classify" and use.bytes is not None]
    return replace(
        outcome,
        bytes_read=sum(read) if read else None,
        retries=find_retries(),
        cpu_seconds=round(sum(use.cpu_seconds for use in stages), 3),
        peak_memory=max((use.peak_memory for use in stages), default=None),
        stages=tuple(asdict(use) for use in stages),
    )


def _use_folder(folder: Path) -> None:
    """Have everything temporary, GDAL's own files included, be made in a folder."""
    tempfile.tempdir = str(folder)
    os.environ["TMPDIR"] = os.environ["CPL_TMPDIR"] = str(folder)
