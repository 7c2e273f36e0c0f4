"""Models of scikit-learn in joblib files, turned into model files without scikit-learn.

The file is read as data (:mod:`cropmask.modelfile.pickles`): nothing in it is run, so it need not
be trusted, and the version of scikit-learn that wrote it does not matter.
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.contract import VERSION
from cropmask.core.features import FEATURES
from cropmask.core.forest import LEAF, Forest
from cropmask.core.strips import REFLECTANCE
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.modelfile.container import MAGIC, SUFFIX
from cropmask.modelfile.ensembles import Ensemble, find_ensemble
from cropmask.modelfile.model import PROBES, Fitted, ModelManifest, ModelSource, Probes
from cropmask.modelfile.pickles import (
    MAX_PICKLE_BYTES,
    PickleProblem,
    parse_pickle,
    unpack_joblib,
)

_SEED: Final = 1

Range = tuple[float, float]

POSSIBLE: Final[dict[str, Range]] = {
    **dict.fromkeys(REFLECTANCE, (0.0, 6.5536)),
    **dict.fromkeys(("bcdev", "edev", "sdev"), (-10.0, 110.0)),
    **dict.fromkeys(("NDVI", "MNDWI"), (-1.0, 1.0)),
    "LAI": (-10_000.0, 10_000.0),
    "rain": (0.0, 20_000.0),
    "slope": (0.0, 10_000.0),
}
"""Between what the values of a feature can lie at all, and so the cuts of a model."""
USUAL: Final[dict[str, Range]] = {
    "blue": (0.02, 0.25),
    "green": (0.03, 0.35),
    "red": (0.03, 0.5),
    "nir": (0.1, 0.7),
    "swir_1": (0.1, 0.9),
    "swir_2": (0.06, 0.8),
    "red_edge_1": (0.05, 0.5),
    "red_edge_2": (0.1, 0.6),
    "red_edge_3": (0.1, 0.7),
    "bcdev": (1.5, 5.0),
    "edev": (1.2, 4.0),
    "sdev": (4.0, 10.5),
    "NDVI": (-0.1, 0.8),
    "LAI": (0.05, 2.5),
    "MNDWI": (-0.8, -0.1),
    "rain": (15.0, 3500.0),
    "slope": (0.5, 40.0),
}
"""Between what the median cut of a feature lies: that of the sixteen models of the eight regions,
with room on both sides."""
_FEWEST_CUTS: Final = 5
"""A median of fewer cuts says nothing."""


def import_joblib(
    path: Path, names: tuple[str, ...] | None = None, region: str | None = None
) -> Fitted:
    """Model of a joblib or pickle file of scikit-learn 0.22 or newer; nothing in it is run.

    Parameters
    ----------
    path
        Compressed or not, with a forest, extra trees or boosted trees of the classes 0 and 1, alone
        or within pipelines that change nothing, or searches.
    names
        Names of the estimator's features in its order: any of
        :data:`~cropmask.core.features.FEATURES`, each once. Default as the estimator knows them; if
        it does not, all in that order. The result has all of them in that order, whatever the
        estimator's is.
    region
        Name of the region that the model is for.

    Raises
    ------
    Misconfigured
        If the file cannot be opened, or lz4 is needed and not installed.
    Rejected
        If it is damaged or asks for what no model needs, if it holds no model that the engine can
        hold exactly, or if its features cannot be those.
    """
    data = _load(path)
    try:
        found = parse_pickle(unpack_joblib(data))
    except PickleProblem as problem:
        raise Rejected(
            f"joblib file {path} cannot be read as a model: it {problem} (nothing of it was run); "
            "fetch it again, or save the fitted estimator alone",
            reason=Reason.BAD_JOBLIB,
        ) from None
    ensemble = find_ensemble(found)
    names, order = _find_order(ensemble, names)
    forest = _in_order(ensemble.forest(names))
    _check_ranges(forest)
    rows = _made_up_rows(forest)
    columns = [FEATURES.index(name) for name in names]
    return Fitted(
        forest=forest,
        manifest=_make_manifest(ensemble, path.name, data, region, order),
        probes=Probes(rows, ensemble.predict(rows[:, columns])),
    )


def find_doubts(forest: Forest) -> list[str]:
    """Features whose cuts lie where those of no known model do, each in words."""
    doubts = []
    for name, cuts in _cuts(forest):
        low, high = USUAL[_band(name)]
        middle = float(np.median(cuts)) if len(cuts) >= _FEWEST_CUTS else low
        if not low <= middle <= high:
            doubts.append(f"{name} is cut around {middle:.3g}, usual are {low:g} to {high:g}")
    return doubts


def _load(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise Rejected(f"{path} is not a file: give a joblib file", reason=Reason.BAD_JOBLIB)
        if path.stat().st_size > MAX_PICKLE_BYTES:
            raise Rejected(
                f"joblib file {path} is too large: at most {MAX_PICKLE_BYTES // 2**20} MiB can be "
                "read",
                reason=Reason.BAD_JOBLIB,
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise Misconfigured(
            f"joblib file {path} cannot be read ({problem}): check the path"
        ) from None
    if data.startswith(MAGIC):
        raise Rejected(
            f"{path} is a {SUFFIX} file already: use it as it is", reason=Reason.BAD_JOBLIB
        )
    return data


def _make_manifest(
    ensemble: Ensemble, name: str, data: bytes, region: str | None, order: str
) -> ModelManifest:
    software = {"cropmask": VERSION, "numpy": np.__version__}
    if ensemble.version is not None:
        software["scikit-learn"] = ensemble.version
    return ModelManifest(
        region=region,
        recipe="boosted" if ensemble.kind == "logit" else "forest",
        estimator=ensemble.estimator,
        hyperparameters=ensemble.hyperparameters,
        software=software,
        training=None,
        source=ModelSource(
            file=re.sub(r"[^\w .+()-]", "?", name)[:200],
            sha256=sha256(data).hexdigest(),
            size=len(data),
            contents=ensemble.contents,
            order=order,
        ),
    )


def _find_order(ensemble: Ensemble, asked: tuple[str, ...] | None) -> tuple[tuple[str, ...], str]:
    """Names of the estimator's features, in its order, and where that is from."""
    known = ensemble.feature_names
    ours = known is not None and set(known) <= set(FEATURES) and len(set(known)) == len(known)
    if asked is None:
        if known is not None and not ours:
            shown = ", ".join(name[:30] for name in known[:5])
            raise Rejected(
                f"the estimator calls its {len(known)} features {shown} ..., which are not the "
                "names of this package: give ours in its order with --features"
            )
        return (known, "the file") if known else (FEATURES, "the published order")
    unknown = [name for name in asked if name not in FEATURES]
    if unknown:
        raise Rejected(f"unknown feature '{unknown[0]}': the names are those of cropmask's samples")
    if len(set(asked)) < len(asked):
        raise Rejected("a feature is named twice: name each once, in the estimator's order")
    if ours and known != asked:
        raise Rejected(
            "--features gives another order than the estimator itself: leave it out, its features "
            "are known"
        )
    return asked, "--features"


def _check_ranges(forest: Forest) -> None:
    """Refuse a model with cuts where its features have no values: they are not those features."""
    wrong = []
    for name, cuts in _cuts(forest):
        low, high = POSSIBLE[_band(name)]
        beyond = cuts[(cuts < low) | (cuts > high)]
        if len(beyond):
            farthest = beyond[np.abs(beyond).argmax()]
            wrong.append(f"{name} at {farthest:.4g}, possible are {low:g} to {high:g}")
    if wrong:
        raise Rejected(
            f"the model cuts {len(wrong)} features where they have no values "
            f"({'; '.join(wrong[:3])}): its features have another order or other units; name them "
            "in its order with --features",
            reason=Reason.BAD_ESTIMATOR,
        )


def _cuts(forest: Forest) -> list[tuple[str, NDArray[np.float32]]]:
    pieces = np.split(forest.cuts, forest.offsets[1:-1])
    return list(zip(forest.features, pieces, strict=True))


def _band(name: str) -> str:
    return name.removesuffix("_S1").removesuffix("_S2")


def _in_order(forest: Forest) -> Forest:
    """The same forest with all features in the package's order; those it lacks have no cuts."""
    pieces = dict(_cuts(forest))
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
    random = np.random.default_rng(_SEED)
    rows = np.zeros((PROBES, len(forest.features)), np.float32)
    for index, (_, cuts) in enumerate(_cuts(forest)):
        if len(cuts):
            spread = 0.01 * (float(cuts[-1]) - float(cuts[0]))
            values = random.choice(cuts, PROBES).astype(np.float64)
            # Every other row lies exactly on its cuts, where a comparison can go wrong.
            values[1::2] += spread * random.standard_normal(PROBES // 2)
            rows[:, index] = np.clip(values, cuts[0], cuts[-1])
    return rows
