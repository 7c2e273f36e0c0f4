"""Evidence of a labeled sample: districts counted against whole bands, plots, other strata."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cropmask.assess.design import Sample
from cropmask.assess.districts import Districts, load_districts
from cropmask.assess.draw import Stratifier
from cropmask.assess.evidence import Evidence, count_districts, find_covered
from cropmask.assess.frame import read_at
from cropmask.assess.labelpoints import LabelReport
from cropmask.assess.labels import Labels
from cropmask.assess.refusals import check_map, check_training, check_unlabeled
from cropmask.errors import Rejected
from cropmask.grid import tile_polygon
from tests.demo_run import EASTERN, Results
from tests.unit.assess.test_draw import draw, open_frame, read_whole

WEST, SOUTH, EAST, NORTH = EASTERN[0].bounds
HALF = (WEST + EAST) / 2
"""Between two columns of pixels."""


def make_districts() -> Districts:
    shapes = {
        "east": shapely.box(HALF, SOUTH, EAST, NORTH),
        "west": shapely.box(WEST, SOUTH, HALF, NORTH - 24_000),
    }
    return Districts(tuple(shapes), np.array([*shapes.values()]))


def label(sample: Sample, reference: NDArray[np.int64]) -> Labels:
    return Labels(np.asarray(reference), LabelReport(len(sample)), len(sample), 0, (), ())


@pytest.mark.parametrize(
    "stratifier", [Stratifier("filtered"), Stratifier("mask", edges=(30, 70), buffer=2)]
)
def test_pixels_of_districts_are_those_of_the_band(
    results: Results, stratifier: Stratifier
) -> None:
    frame = open_frame(results, bands=("prob",))
    sample = draw(frame, stratifier, points=200)
    evidence = Evidence.of(sample, label(sample, sample.mask), ["eastern"])
    districts = make_districts()
    counted = count_districts(evidence, frame, districts)
    whole = read_whole(results, "eastern", EASTERN[0], stratifier.band)
    half = round((HALF - WEST) / 100)
    parts = {"east": whole[:, half:], "west": whole[240:, :half]}
    classes = np.array([sample.design.strata[n].map_class for n in evidence.strata])
    for at, name in enumerate(districts.names):
        for value in (0, 1):
            expected = int((parts[name] == value).sum())
            assert counted.pixels[at, classes == value].sum() == expected, (name, value)
    # Districts and the rest are the strata.
    total = counted.pixels.sum(0) + counted.elsewhere
    assert total.tolist() == [*evidence.pixels.values()]
    assert {*np.unique(counted.number)} <= {-1, 0, 1}
    table = evidence.count_districts(counted)
    assert table.counts.sum() == len(evidence.sample)
    assert table.pixels.sum() == total.sum()


def test_evidence_of_a_region_has_its_points_and_strata_only(results: Results) -> None:
    sample = draw(open_frame(results), Stratifier("filtered"), points=80)
    labels = label(sample, np.where(np.arange(len(sample)) % 20 == 0, -1, sample.filtered))
    every, east = Evidence.of(sample, labels), Evidence.of(sample, labels, ["eastern"])
    assert set(east.sample.region) == {"eastern"}
    assert east.labeled.sum() == east.is_labeled.sum() < len(east.sample)
    assert every.hectares == sum(each.hectares for each in sample.design.strata)
    assert 0 < east.hectares < every.hectares
    assert east.mapped_pixels.sum() == round(east.hectares / east.hectares_per_pixel)
    # The map is right at all labeled points, so the estimate is the count of pixels.
    area = east.estimate_area()
    np.testing.assert_allclose(area.hectares.estimate, area.mapped_hectares)
    assert (area.hectares.low < area.hectares.high).all()


def test_plots_are_the_units(results: Results) -> None:
    frame = open_frame(results, "eastern")
    sample = draw(frame, Stratifier("filtered"), points=40, plot=3)
    evidence = Evidence.of(sample, label(sample, sample.filtered))
    assert evidence.labeled.sum() == 40
    assert evidence.is_labeled.sum() == len(sample) > 300
    assert evidence.count().units.sum() == 40
    area = evidence.estimate_area()
    assert area.hectares.low[1] < area.hectares.estimate[1] < area.hectares.high[1]


def test_a_stratum_with_one_label_is_refused(results: Results) -> None:
    sample = draw(open_frame(results), Stratifier("filtered"), points=40)
    reference = sample.filtered.copy()
    reference[np.flatnonzero(sample.stratum == 0)[1:]] = -1
    with pytest.raises(Rejected, match=r"other \(1\).*label more points"):
        Evidence.of(sample, label(sample, reference))
    Evidence.of(sample, label(sample, reference), ["western"])


def test_shares_of_districts_that_were_sampled(results: Results) -> None:
    frame = open_frame(results, "eastern")
    box = tile_polygon(EASTERN[0])
    shapes = [box, shapely.box(WEST - 96_000, SOUTH, EAST, NORTH), shapely.box(0, 0, 1, 1)]
    districts = Districts(("all", "half", "none"), np.array(shapes))
    covered = find_covered(districts, frame, {"eastern": box})
    assert covered == pytest.approx({"all": 1.0, "half": 0.5, "none": 0.0})


def test_the_map_is_read_at_places(results: Results) -> None:
    frame = open_frame(results)
    sample = draw(frame, Stratifier("filtered"), points=50)
    mask, filtered = read_at(frame, sample.x, sample.y, ("mask", "filtered"))
    assert mask.tolist() == sample.mask.tolist()
    assert filtered.tolist() == sample.filtered.tolist()
    # Corners belong to the tile in the north and the east; beyond there is nothing.
    x, y = np.array([WEST, EAST - 1e-6, 0.0]), np.array([SOUTH, NORTH - 1e-6, 0.0])
    ((low, high, far),) = read_at(frame, x, y, ("mask",))
    whole = read_whole(results, "eastern", EASTERN[0], "mask")
    assert (low, high, far) == (whole[-1, 0], whole[0, -1], 255)


def test_places_of_the_training_are_found_within_a_pixel() -> None:
    x, y, ids = np.array([50.0, 1050.0]), np.array([50.0, 50.0]), ["a", "b"]
    check_training(ids, x, y, 100, np.array([[200.0, 50.0], [50.0, 5000.0]]))
    with pytest.raises(Rejected, match=r"1 of 2 points are places.*: b: .*another --seed"):
        check_training(ids, x, y, 100, np.array([[1000.0, 120.0]]))


def test_a_map_with_equal_keys_is_the_same_map(results: Results) -> None:
    frame = open_frame(results)
    sample = draw(frame, Stratifier("filtered"), points=40)
    check_map(sample.design, frame)
    with pytest.raises(Rejected, match="is not in the results"):
        check_map(sample.design, open_frame(results, "eastern"))


def test_strata_of_other_districts_are_refused(results: Results) -> None:
    frame, districts = open_frame(results, "eastern"), make_districts()
    sample = draw(
        frame, Stratifier("filtered", districts=districts.names), points=60, districts=districts
    )
    evidence = Evidence.of(sample, label(sample, sample.filtered))
    counted = count_districts(evidence, frame, districts)
    assert (counted.pixels.sum(0) + counted.elsewhere).tolist() == [*evidence.pixels.values()]
    others = Districts(districts.names, districts.polygons[::-1])
    with pytest.raises(Rejected, match="districts of another file"):
        count_districts(evidence, frame, others)


def test_a_stratum_of_which_much_has_no_class_is_refused(results: Results) -> None:
    sample = draw(open_frame(results, "eastern"), Stratifier("filtered"), points=80)
    design = sample.design
    half = {stratum.name: stratum.sampled for stratum in design.strata}
    check_unlabeled(design, half)
    half["crop"] = 31  # of 40: 22.5 %
    with pytest.raises(Rejected, match=r"crop 2[23] %.*--accept-unlabeled"):
        check_unlabeled(design, half)
    # Only one class was exported: the figure would be 100 % crop.
    labels = label(sample, np.where(sample.filtered == 1, 1, np.where(sample.id < "05", 0, -1)))
    with pytest.raises(Rejected, match="too many points have no class: other"):
        Evidence.of(sample, labels)
    kept = Evidence.of(sample, labels, accept_unlabeled=True)
    assert kept.unlabeled_shares["other"] > 0.9
    assert kept.unlabeled_shares["crop"] == 0


def put_districts(path: Path, **boxes: tuple[float, float, float, float]) -> Path:
    """Districts of boxes in degrees; a name may end with a digit that is left out."""
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shapely.box(*box)),
            "properties": {"name": name.rstrip("0123456789")},
        }
        for name, box in boxes.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_districts_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.geojson"
    sliver = put_districts(path, West=(36, -1, 37, 0), East=(36.999, -1, 38, 0))
    assert load_districts(sliver).names == ("East", "West")
    put_districts(path, West=(36, -1, 37, 0), East=(36.9, -1, 38, 0))
    with pytest.raises(Rejected, match="'East' and 'West' overlap by 1"):
        load_districts(path)
    put_districts(path, Country=(36, -1, 38, 1), County=(36.5, -0.5, 36.6, -0.4))
    with pytest.raises(Rejected, match="'Country' and 'County' overlap"):
        load_districts(path)


def test_polygons_of_one_name_are_one_district_and_told(tmp_path: Path) -> None:
    path = put_districts(
        tmp_path / "d.geojson", A1=(36, -1, 37, 0), A2=(37.5, -1, 38, 0), B=(38, -1, 39, 0)
    )
    found = load_districts(path)
    assert (found.names, found.joined) == (("A", "B"), ("A",))


def test_training_places_that_are_nowhere_near_are_no_evidence() -> None:
    x, y = np.array([3.5e6, 3.6e6]), np.array([-1e5, -1.2e5])
    with pytest.raises(Rejected, match="longitude and latitude exchanged"):
        check_training(["1", "2"], x, y, 10, np.array([[-1e5, 3.5e6]]))
    check_training(["1", "2"], x, y, 10, np.array([[3.55e6, -1.1e5]]))
