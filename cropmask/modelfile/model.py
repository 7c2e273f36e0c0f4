"""Model files (``.cropmodel``): a tree ensemble as plain arrays, with its provenance.

The structure of the trees is stored as the features of their nodes in pre-order, leaves marked;
right children follow from that, so a file cannot even say a cycle or a child outside its tree.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cropmask.core.applicability import Applicability
from cropmask.core.engine import predict
from cropmask.core.forest import LEAF, LEAST_THRESHOLD, Forest
from cropmask.core.formulas import MAX_LENGTH
from cropmask.errors import Reason, Rejected
from cropmask.modelfile.container import (
    SUFFIX,
    Array,
    Content,
    damaged,
    encode_content,
    load_model_bytes,
    parse_content,
    problem_of,
    replace_file,
)
from cropmask.modelfile.forestarrays import (
    MAX_TREES,
    check_forest,
    check_values,
    decode_cuts,
    encode_cuts,
    right_children,
)
from cropmask.product import Recipe
from cropmask.region.attribution import OTHER_LICENSE

__all__ = [
    "PROBES",
    "SUFFIX",
    "Fitted",
    "Model",
    "ModelManifest",
    "ModelSource",
    "Probes",
    "TrainingData",
    "check_probes",
    "load_forest",
    "read_model",
    "write_model",
]

PROBES: Final = 32
"""Probes of a new model."""
MAX_PROBES: Final = 4096
CLASSES: Final = ("non-crop", "crop")
MAX_KNOWN: Final = 1 << 20
"""Most samples of a model's applicability."""
_PROBE_TOLERANCE: Final = 1e-6
"""Largest difference of a probability from its probe: sums of boosted trees differ in last bits."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Word = Annotated[str, Field(max_length=200)]
_Text = Annotated[str, Field(max_length=MAX_LENGTH)]


class TrainingData(_Strict):
    """The samples that a model was fitted on."""

    sha256: Sha256
    """Of the samples file, as it was."""
    rows: Annotated[int, Field(ge=1)]
    crop_rows: Annotated[int, Field(ge=0)]


class ModelSource(_Strict):
    """The foreign file that a model was imported from."""

    file: Word
    sha256: Sha256
    size: Annotated[int, Field(ge=1)]
    """Bytes."""
    contents: Word
    """What it held from the outside in, such as ``Pipeline > RandomForestClassifier``."""
    order: Word
    """Where the order of its features is from."""


class ModelManifest(_Strict):
    """Where a model comes from: part of the file, but nothing in it changes what is computed."""

    region: Word | None
    """Name of the region, or None of a model that was imported for none."""
    recipe: Recipe
    estimator: Word
    """Class of the scikit-learn estimator."""
    hyperparameters: dict[Word, Word | int | float | bool | None]
    software: dict[Word, Word]
    """Versions of the packages that fitted and imported the model."""
    training: TrainingData | None
    """None of an imported model, whose samples are not known."""
    source: ModelSource | None = None
    """None of a model that was trained here."""
    classes: tuple[Word, Word] = CLASSES
    """Names of the classes 0 and 1."""
    license: Word = OTHER_LICENSE
    credit: Word = ""
    """Who made the samples; empty if nobody says it."""
    credit_url: Word = ""


class _Trees(_Strict):
    """What the arrays of a file do not say of its forest."""

    kind: Literal["vote", "logit"]
    baseline: float
    trees: Annotated[int, Field(ge=1, le=MAX_TREES)]
    threshold: Annotated[float, Field(ge=LEAST_THRESHOLD, le=1 - LEAST_THRESHOLD)] = 0.5
    features: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=LEAF - 1)]
    """Texts of :mod:`cropmask.core.formulas`."""


class _Known(_Strict):
    """What the arrays of a file do not say of the land that its model knows."""

    features: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=LEAF - 1)]
    """Texts of :mod:`cropmask.core.formulas`."""
    mean_distance: float
    threshold: float


class _Document(_Strict):
    forest: _Trees
    applicability: _Known | None = None
    provenance: ModelManifest


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Rows with the probabilities that scikit-learn gave them: a model's own test.

    Those of an imported model are computed from its file's own thresholds, node by node.
    """

    x: NDArray[np.float32]
    """Feature values ``(row, feature)``, all finite."""
    probability: NDArray[np.float64]
    """Crop probability ``(row,)``, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A model that was just fitted or imported, ready to be written."""

    forest: Forest
    manifest: ModelManifest
    probes: Probes
    calibration: NDArray[np.uint8] | None = None
    applicability: Applicability | None = None
    """Both as of :class:`Model`."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """All that a model file holds."""

    forest: Forest
    manifest: ModelManifest
    probes: Probes
    size: int
    """Bytes of the file."""
    calibration: NDArray[np.uint8] | None = None
    """``(101,)``: share of crop, in percent, among held-out samples of each value of ``prob``;
    never falls. None of a model whose vote was found as good, or that nobody calibrated."""
    applicability: Applicability | None = None
    """Which land is like its samples; None of a model whose samples are not known."""


def load_forest(path: Path, expected: str | None = None) -> Forest:
    """Forest of a model file, its arrays read-only; parameters and errors of `read_model`."""
    return read_model(path, expected).forest


def read_model(path: Path, expected: str | None = None) -> Model:
    """Forest, manifest and probes of a model file.

    Parameters
    ----------
    path
        A ``.cropmodel`` file.
    expected
        SHA-256 that the whole file must have, as a region file gives it; None to accept any.

    Raises
    ------
    Misconfigured
        If the file cannot be read.
    Rejected
        If its digest is another one, or if it is not an undamaged model file.
    """
    data = load_model_bytes(path)
    digest = sha256(data).hexdigest()
    if expected is not None and digest != expected:
        raise Rejected(
            f"model digest differs: {path.name} has SHA-256 {digest[:12]}..., the region file says "
            f"{expected[:12]}...: restore the file, or correct the region file if this is meant",
            reason=Reason.MODEL_DIGEST_DIFFERS,
        )
    return _parse_model(parse_content(data, str(path)), digest, len(data), path.name)


def write_model(
    path: Path,
    forest: Forest,
    manifest: ModelManifest,
    probes: Probes,
    calibration: NDArray[np.uint8] | None = None,
    applicability: Applicability | None = None,
) -> str:
    """Write a model file, whole or not at all, and give its SHA-256; equal models, equal bytes.

    Raises Misconfigured if the file cannot be written; Rejected if the forest breaks a law of
    :class:`Forest`.
    """
    problem = (
        check_forest(forest)
        or _check_probes(probes, len(forest.features))
        or _check_calibration(calibration)
        or _check_applicability(applicability, forest.features)
    )
    if problem:
        raise Rejected(f"the model cannot be stored: {problem}", reason=Reason.BAD_MODEL)
    content = _content(forest, manifest, probes)
    if calibration is not None:
        content.arrays["calibration"] = calibration
    if applicability is not None:
        _put_applicability(content, applicability)
    data = encode_content(content)
    replace_file(path, data)
    return sha256(data).hexdigest()


def check_probes(forest: Forest, probes: Probes, file: Path) -> str:
    """Whether a model gives its probes the probabilities that are stored with them, in words.

    Raises Rejected if a label differs, or a probability by more than rounding.
    """
    found, expected = predict(forest, probes.x), probes.probability
    worst = float(np.abs(found - expected).max(initial=0.0))
    over = forest.threshold
    flipped = int(np.count_nonzero((found > over) != (expected > over)))
    if flipped or not worst <= _PROBE_TOLERANCE:
        raise Rejected(
            f"model file {file.name} does not reproduce its probes ({flipped} of {len(expected)} "
            f"labels differ, probabilities by up to {worst:.2g}): restore it, or report this",
            reason=Reason.PROBES_DIFFER,
        )
    return f"{len(expected)} probes reproduced, largest difference {worst:.1g}"


def _content(forest: Forest, manifest: ModelManifest, probes: Probes) -> Content:
    document = _Document(
        forest=_Trees(
            kind=forest.kind,
            baseline=forest.baseline,
            trees=len(forest.roots),
            threshold=forest.threshold,
            features=forest.features,
        ),
        provenance=manifest.model_copy(
            update={
                "hyperparameters": dict(sorted(manifest.hyperparameters.items())),
                "software": dict(sorted(manifest.software.items())),
            }
        ),
    )
    leaf = forest.feature == LEAF
    head = document.model_dump(mode="json")
    del head["applicability"]  # put there with its arrays
    if manifest.source is None:
        del head["provenance"]["source"]  # so that files of trained models are as they ever were
    if forest.threshold == 0.5:
        del head["forest"]["threshold"]
    return Content(
        manifest=head,
        arrays={
            "feature": forest.feature,
            "rank": forest.rank[~leaf],
            "leaf": forest.rank[leaf],
            "counts": np.diff(forest.offsets).astype(np.uint32),
            "cuts": encode_cuts(forest.cuts, forest.offsets),
            "leaves": forest.leaves,
            "probe_x": probes.x,
            "probe_probability": probes.probability,
        },
    )


_DTYPES: Final = {
    "feature": ("u1", 1),
    "rank": ("u2", 1),
    "leaf": ("u2", 1),
    "counts": ("u4", 1),
    "cuts": ("u4", 1),
    "leaves": ("f8", 1),
    "probe_x": ("f4", 2),
    "probe_probability": ("f8", 1),
}
"""Arrays of a model file: dtype and number of axes."""
_APPLICABILITY: Final = {
    "known_center": ("f8", 1),
    "known_factor": ("f8", 1),
    "known_samples": ("f4", 2),
}
_CALIBRATION: Final = {"calibration": ("u1", 1)}
"""Arrays that some have beside them."""


def _expected_arrays(document: _Document, names: Collection[str]) -> dict[str, tuple[str, int]]:
    found = dict(_DTYPES)
    if document.applicability is not None:
        found |= _APPLICABILITY
    return found | (_CALIBRATION if "calibration" in names else {})


def _parse_model(content: Content, digest: str, size: int, name: str) -> Model:
    try:
        document = _Document.model_validate(content.manifest)
    except ValidationError as error:
        raise damaged(name, f"its manifest: {problem_of(error)}") from None
    found = {key: (a.dtype.str[1:], a.ndim) for key, a in content.arrays.items()}
    if found != _expected_arrays(document, found.keys()):
        raise damaged(name, "its arrays are not those of a model")
    try:
        forest = _parse_forest(document.forest, content.arrays, digest)
    except ValueError as error:
        raise damaged(name, str(error)) from None
    probes = Probes(
        _frozen(content.arrays["probe_x"]), _frozen(content.arrays["probe_probability"])
    )
    calibration = content.arrays.get("calibration")
    applicability = _parse_applicability(document.applicability, content.arrays)
    problem = (
        check_values(forest)
        or _check_probes(probes, len(forest.features))
        or _check_calibration(calibration)
        or _check_applicability(applicability, forest.features)
    )
    if problem:
        raise damaged(name, problem)
    if calibration is not None:
        _frozen(calibration)
    return Model(forest, document.provenance, probes, size, calibration, applicability)


def _parse_forest(trees: _Trees, arrays: dict[str, Array], digest: str) -> Forest:
    if len(arrays["counts"]) != len(trees.features):
        raise ValueError("its cuts are not those of its features")
    cuts, offsets = decode_cuts(arrays["cuts"], arrays["counts"])
    feature = arrays["feature"]
    right, roots = right_children(feature, trees.trees)
    leaf = feature == LEAF
    leaves = int(np.count_nonzero(leaf))
    if (len(arrays["leaf"]), len(arrays["rank"])) != (leaves, len(feature) - leaves):
        raise ValueError("its ranks are not those of its nodes")
    rank = np.empty(len(feature), np.uint16)
    rank[leaf] = arrays["leaf"]
    rank[~leaf] = arrays["rank"]
    return Forest(
        features=trees.features,
        kind=trees.kind,
        baseline=trees.baseline,
        cuts=_frozen(cuts),
        offsets=_frozen(offsets),
        roots=_frozen(roots),
        feature=_frozen(feature),
        rank=_frozen(rank),
        right=_frozen(right),
        leaves=_frozen(arrays["leaves"]),
        digest=digest,
        threshold=trees.threshold,
    )


def _check_probes(probes: Probes, features: int) -> str | None:
    rows = len(probes.x)
    if rows > MAX_PROBES or probes.x.shape != (rows, features):
        return "its probes do not fit its features"
    p = probes.probability
    if p.shape != (rows,) or not ((p >= 0) & (p <= 1)).all() or not np.isfinite(probes.x).all():
        return "its probes are not numbers in their range"
    return None


def _check_calibration(table: NDArray[np.uint8] | None) -> str | None:
    if table is None:
        return None
    whole = table.dtype == np.uint8 and table.shape == (101,)
    if not whole or int(table.max()) > 100 or (np.diff(table.astype(np.int16)) < 0).any():
        return "its calibration is not a percentage for each percentage, never falling"
    return None


def _put_applicability(content: Content, known: Applicability) -> None:
    head = _Known(
        features=known.features, mean_distance=known.mean_distance, threshold=known.threshold
    )
    content.manifest["applicability"] = head.model_dump(mode="json")
    content.arrays["known_center"] = known.center
    content.arrays["known_factor"] = known.factor
    content.arrays["known_samples"] = known.samples


def _parse_applicability(head: _Known | None, arrays: dict[str, Array]) -> Applicability | None:
    if head is None:
        return None
    return Applicability(
        features=head.features,
        center=_frozen(arrays["known_center"]),
        factor=_frozen(arrays["known_factor"]),
        samples=_frozen(arrays["known_samples"]),
        mean_distance=head.mean_distance,
        threshold=head.threshold,
    )


def _check_applicability(known: Applicability | None, features: tuple[str, ...]) -> str | None:
    if known is None:
        return None
    wanted = [name for name in features if name in known.features]
    count = len(known.features)
    if not count or list(known.features) != wanted:
        return "the features of its applicability are not its own, in their order"
    rows = known.samples.shape[0] if known.samples.ndim == 2 else 0
    shapes = (known.center.shape, known.factor.shape, known.samples.shape)
    if not 1 <= rows <= MAX_KNOWN or shapes != ((count,), (count,), (rows, count)):
        return "the samples of its applicability do not fit its features"
    numbers = (known.center, known.factor, known.samples)
    if not all(np.isfinite(a).all() for a in numbers) or not (known.factor > 0).all():
        return "the samples of its applicability are not numbers in their range"
    if not (0 < known.mean_distance < np.inf and 0 < known.threshold < np.inf):
        return "the distances of its applicability are not numbers over 0"
    return None


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
