"""Old scikit-learn models in joblib files, turned into model files on request.

A joblib file is a pickle: loading it runs what its author put in it. That is asked of the user
each time; nothing else in this package loads one.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import InconsistentVersionWarning

from cropmask.core.features import FEATURES
from cropmask.core.forest import LEAF, Forest
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.modelfile.model import ModelManifest
from cropmask.training.convert import convert
from cropmask.training.fit import PROBES, SEED, Fitted, make_probes, software

MAX_SCAN_BYTES: Final = 2**28
OLDEST: Final = (1, 6)
"""Oldest scikit-learn that this package is installed with: see ``train`` in pyproject.toml."""

_VERSION: Final = re.compile(
    rb"_sklearn_version.{1,16}?(\d+\.\d+(?:\.\d+|\.?rc\d+|\.dev\d+)*)", re.S
)
_UNPACKERS: Final[dict[bytes, Callable[..., Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}


def import_joblib(
    path: Path, names: tuple[str, ...] = FEATURES, region: str | None = None
) -> Fitted:
    """Model of a joblib (or pickle) file that the caller trusts: loading it can run its code.

    Parameters
    ----------
    names
        Names of the estimator's features in its order: any of :data:`FEATURES`, each once. The
        result has all of them in the package's order, whatever the estimator's is.

    Raises
    ------
    Misconfigured
        If the file cannot be read.
    Rejected
        If it was written by another version of scikit-learn, or holds no usable estimator.
    """
    estimator: Any = _load(path)
    names = _check_names(estimator, names)
    forest = _in_order(convert(estimator, names))
    rows = _made_up_rows(forest)
    if hasattr(estimator, "n_jobs"):
        estimator.n_jobs = 1
    # scikit-learn warns of rows without names when it knows names; ours are in its order.
    vars(estimator).pop("feature_names_in_", None)
    columns = [FEATURES.index(name) for name in names]
    return Fitted(
        forest=forest,
        manifest=ModelManifest(
            region=region,
            recipe="boosted" if isinstance(estimator, HistGradientBoostingClassifier) else "forest",
            estimator=type(estimator).__name__,
            hyperparameters=_plain(estimator.get_params(deep=False)),
            software=software(),
            training=None,
        ),
        probes=replace(make_probes(estimator, rows[:, columns]), x=rows),
    )


def _load(path: Path) -> object:
    if not path.is_file():
        raise Misconfigured(f"joblib file {path} cannot be read: there is no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", InconsistentVersionWarning)
            return joblib.load(path)
    except InconsistentVersionWarning as warning:
        raise _other_version(path, warning.original_sklearn_version) from None
    except PermissionError as error:
        raise Misconfigured(f"joblib file {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 (unpickling may fail in any way whatever)
        written = _find_version(path)
        if written and written != sklearn.__version__:
            raise _other_version(path, written) from None
        raise Rejected(
            f"joblib file {path} cannot be loaded ({type(error).__name__}: {str(error)[:160]}): "
            "check that it is a whole joblib file of a scikit-learn classifier",
            reason=Reason.BAD_JOBLIB,
        ) from None


def _other_version(path: Path, written: str) -> Rejected:
    anew = "train anew from its samples with 'cropmask train'"
    install = (
        f"import it in an environment with pip install 'scikit-learn=={written}', or {anew}"
        if tuple(int(part) for part in written.split(".")[:2]) >= OLDEST
        else f"it is too old to be installed beside cropmask, {anew}"
    )
    return Rejected(
        f"joblib file {path} was written by scikit-learn {written} and this is "
        f"{sklearn.__version__}, which may read it wrongly: {install}",
        reason=Reason.BAD_JOBLIB,
    )


def _find_version(path: Path) -> str | None:
    """Version of scikit-learn that a file names, found without loading it."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
        unpack = next((u for magic, u in _UNPACKERS.items() if start.startswith(magic)), None)
        if unpack is not None:
            with unpack(path, "rb") as packed:
                data = packed.read(MAX_SCAN_BYTES)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_SCAN_BYTES)
        if start[:1] == b"\x78":
            data = zlib.decompressobj().decompress(data, MAX_SCAN_BYTES)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return None
    match = _VERSION.search(data)
    return match[1].decode() if match else None


def _check_names(estimator: object, names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise Rejected(f"unknown feature '{unknown[0]}': the names are those of cropmask's samples")
    if len(set(names)) < len(names):
        raise Rejected("a feature is named twice: name each once, in the estimator's order")
    known = getattr(estimator, "feature_names_in_", None)
    if known is not None and set(known) <= set(FEATURES) and names == FEATURES:
        return tuple(str(name) for name in known)
    return names


def _in_order(forest: Forest) -> Forest:
    """The same forest with all features in the package's order; those it lacks have no cuts."""
    pieces = dict(zip(forest.features, np.split(forest.cuts, forest.offsets[1:-1]), strict=True))
    cuts = [pieces.get(name, np.empty(0, np.float32)) for name in FEATURES]
    table = np.full(LEAF + 1, LEAF, np.uint8)
    table[: len(forest.features)] = [FEATURES.index(name) for name in forest.features]
    return replace(
        forest,
        features=FEATURES,
        cuts=np.concatenate(cuts),
        offsets=np.cumsum([0, *(len(piece) for piece in cuts)]).astype(np.int32),
        feature=table[forest.feature],
    )


def _made_up_rows(forest: Forest) -> NDArray[np.float32]:
    """Probe rows for a model whose samples are not known: values at and around its cuts."""
    random = np.random.default_rng(SEED)
    rows = np.zeros((PROBES, len(forest.features)), np.float32)
    for index, cuts in enumerate(np.split(forest.cuts, forest.offsets[1:-1])):
        if len(cuts):
            spread = 0.01 * (float(cuts[-1]) - float(cuts[0]))
            values = random.choice(cuts, PROBES).astype(np.float64)
            # Every other row lies exactly on its cuts, where a comparison can go wrong.
            values[1::2] += spread * random.standard_normal(PROBES // 2)
            rows[:, index] = np.clip(values, cuts[0], cuts[-1])
    return rows


def _plain(parameters: dict[str, Any]) -> dict[str, str | int | float | bool | None]:
    keep = {key: value for key, value in parameters.items() if key not in ("n_jobs", "verbose")}
    return {
        key: value if isinstance(value, str | int | float | bool | None) else str(value)[:200]
        for key, value in keep.items()
    }
