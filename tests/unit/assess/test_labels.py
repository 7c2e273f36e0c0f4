"""Labels joined to the points of a sample: by id, by place, and what has no class."""

from __future__ import annotations

import csv
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from cropmask.assess.design import Sample, SampleDesign, SampledTile, Stratum, encode_sample
from cropmask.assess.labelpoints import PointColumns
from cropmask.assess.labels import UNLABELED, join_labels
from cropmask.assess.samplefiles import (
    encode_ceo_plots,
    encode_ceo_samples,
    encode_geopackage,
    load_sample,
)
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import Tile
from cropmask.sources.points import load_points

POINTS = 12


def make_sample(points: int = POINTS) -> Sample:
    """Points in a row, 1 km apart, in two strata."""
    left, _, _, top = Tile(215, 75).bounds
    row, column = np.full(points, 50), 100 * np.arange(points)
    x, y = left + (column + 0.5) * 10, top - (row + 0.5) * 10
    lon, lat = Transformer.from_crs("EPSG:6933", "OGC:CRS84", always_xy=True).transform(x, y)
    stratum = np.arange(points) % 2
    strata = tuple(
        Stratum(
            name=name,
            region="eastern",
            map_class=code,
            pixels=1_000,
            hectares=10.0,
            sampled=int((stratum == code).sum()),
        )
        for code, name in enumerate(("other", "crop"))
    )
    design = SampleDesign(
        products=("crop_mask_eastern",),
        version="1.1.0",
        period="2019--P1Y",
        band="filtered",
        resolution=10,
        factors=("class",),
        allocation="equal",
        seed=0,
        plot_pixels=1,
        strata=strata,
        tiles=(SampledTile(region="eastern", tile="x215y075", run_key="ab" * 32),),
        unseen_hectares=921_600.0 - 20.0,
    )
    ids = np.array([f"{number:02d}" for number in range(1, points + 1)])
    return Sample(
        design,
        id=ids,
        plot=ids,
        stratum=stratum,
        region=np.full(points, "eastern"),
        tile=np.full(points, "x215y075"),
        row=row,
        column=column,
        lon=np.asarray(lon),
        lat=np.asarray(lat),
        x=x,
        y=y,
        mask=stratum,
        filtered=stratum,
        district=np.full(points, "", "U1"),
    )


def put_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(sample: Sample, *, shift: float = 0.0) -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "lon": lon + shift,
            "lat": lat,
            "class": "crop" if at % 3 == 0 else "non-crop",
        }
        for at, (name, lon, lat) in enumerate(zip(sample.id, sample.lon, sample.lat, strict=True))
    ]


TRUTH = [int(at % 3 == 0) for at in range(POINTS)]


def test_by_id_without_coordinates(tmp_path: Path) -> None:
    sample = make_sample()
    rows = [{"id": int(row["id"]), "class": row["class"]} for row in rows_of(sample)]
    labels = join_labels(sample, [put_csv(tmp_path / "a.csv", rows[::-1])])
    assert labels.reference.tolist() == TRUTH
    assert (labels.by_id, labels.by_place, labels.missing) == (POINTS, 0, 0)
    assert labels.unplaced == POINTS
    assert "12 labels have no coordinates" in "\n".join(labels.describe())
    floats = [{**row, "id": f"{row['id']}.0"} for row in rows]
    assert join_labels(sample, [put_csv(tmp_path / "f.csv", floats)]).by_id == POINTS


def test_commas_in_numbers_are_points_where_semicolons_divide(tmp_path: Path) -> None:
    sample = make_sample()
    lines = [
        f"{name};{lon!r};{lat!r};{'crop' if truth else 'no crop'}".replace(".", ",")
        for name, lon, lat, truth in zip(
            sample.id, sample.lon.tolist(), sample.lat.tolist(), TRUTH, strict=True
        )
    ]
    file = tmp_path / "excel.csv"
    file.write_text("\n".join(["id;lon;lat;class", *lines]), encoding="utf-8-sig")
    labels = join_labels(sample, [file])
    assert labels.reference.tolist() == TRUTH
    assert (labels.by_id, labels.unplaced) == (POINTS, 0)


def test_words_that_may_be_a_class_are_never_left_out(tmp_path: Path) -> None:
    sample = make_sample()
    rows = [
        {**row, "class": {"crop": "crop", "non-crop": "Wald"}[row["class"]]}
        for row in rows_of(sample)
    ]
    file = put_csv(tmp_path / "a.csv", rows)
    with pytest.raises(
        Rejected, match=r"8 answers are neither crop nor not: 'wald'.*--other-values"
    ):
        join_labels(sample, [file])
    named = PointColumns(other_values=("wald",))
    assert join_labels(sample, [file], named).reference.tolist() == TRUTH


def test_empty_columns_of_places_are_as_none(tmp_path: Path) -> None:
    sample = make_sample()
    rows = [{**row, "lon": "", "lat": ""} for row in rows_of(sample)]
    labels = join_labels(sample, [put_csv(tmp_path / "a.csv", rows)])
    assert labels.reference.tolist() == TRUTH
    assert labels.by_id == POINTS
    rows[0]["lat"] = "1.5"
    with pytest.raises(
        Rejected, match=r"row 1 has no place: nothing, 1\.5; fill in 'lon' and 'lat'"
    ):
        join_labels(sample, [put_csv(tmp_path / "b.csv", rows)])


def test_an_unknown_id_without_coordinates_is_refused(tmp_path: Path) -> None:
    rows = [{"id": 1, "class": "crop"}, {"id": 99, "class": "crop"}]
    with pytest.raises(Rejected, match="row 2 has no coordinates, and no id"):
        join_labels(make_sample(), [put_csv(tmp_path / "a.csv", rows)])


def test_by_place_where_ids_are_of_others(tmp_path: Path) -> None:
    sample = make_sample()
    rows = [{**row, "id": f"{number}"} for number, row in enumerate(rows_of(sample)[::-1], 1)]
    labels = join_labels(sample, [put_csv(tmp_path / "a.csv", rows)])
    assert labels.reference.tolist() == TRUTH
    assert (labels.by_id, labels.by_place) == (0, POINTS)
    # Four meters is the same pixel, forty are another one.
    near = join_labels(sample, [put_csv(tmp_path / "b.csv", rows_of(sample, shift=4 / 111_000))])
    assert near.reference.tolist() == TRUTH
    far = [{**row, "lon": row["lon"] + 40 / 96_486} for row in rows]
    with pytest.raises(Rejected, match="none of 12 labels is at a point"):
        join_labels(sample, [put_csv(tmp_path / "c.csv", far)])


def test_exchanged_coordinates_are_named(tmp_path: Path) -> None:
    sample = make_sample()
    rows = [{**row, "lon": row["lat"], "lat": row["lon"]} for row in rows_of(sample)]
    with pytest.raises(Rejected, match="longitude and latitude are exchanged: correct the file"):
        join_labels(sample, [put_csv(tmp_path / "a.csv", rows)])
    elsewhere = [{**row, "lon": row["lon"] + 3} for row in rows_of(sample)]
    with pytest.raises(Rejected, match="give the labels of this sample"):
        join_labels(sample, [put_csv(tmp_path / "b.csv", elsewhere)])


def test_a_pixel_of_two_plots_is_labeled_in_both(tmp_path: Path) -> None:
    sample = make_sample()
    first = sample.take(np.r_[0, np.arange(len(sample))])
    twice = replace(first, id=np.array(["extra", *sample.id]), plot=np.array(["x", *sample.plot]))
    rows = [{**row, "id": f"q{row['id']}"} for row in rows_of(sample)]
    labels = join_labels(twice, [put_csv(tmp_path / "a.csv", rows)])
    assert labels.reference.tolist() == [TRUTH[0], *TRUTH]
    assert (labels.by_place, labels.missing) == (POINTS, 0)


def test_nothing_is_dropped_in_silence(tmp_path: Path) -> None:
    sample = make_sample()
    rows = rows_of(sample)
    rows[0]["class"] = "unsure"
    rows[1]["class"] = ""
    rows[2] = {**rows[2], "id": "other", "lon": 1.0}
    rows.append({**rows[4], "id": "again", "class": "crop"})
    labels = join_labels(sample, [put_csv(tmp_path / "a.csv", rows)])
    assert labels.reference.tolist()[:6] == [-1, -1, -1, 1, -1, 0]
    assert labels.strangers == ("other",)
    assert labels.contradicted == ("05",)
    assert labels.missing == 4
    text = "\n".join(labels.describe())
    for part in (
        "8 of 12 points have a class",
        "1 'unsure'",
        "1 rows without a label",
        "not of this sample   1: other",
        "contradicted   1: 05",
    ):
        assert part in text


def test_several_labelers_by_file_and_by_column(tmp_path: Path) -> None:
    sample = make_sample()
    rows = rows_of(sample)
    files = [put_csv(tmp_path / f"{name}.csv", rows) for name in "ab"]
    turned = [
        {**row, "class": {"crop": "non-crop", "non-crop": "crop"}[row["class"]]}
        if at in (3, 4)
        else row
        for at, row in enumerate(rows)
    ]
    files.append(put_csv(tmp_path / "c.csv", turned))
    by_file = join_labels(sample, files)
    assert by_file.reference.tolist() == TRUTH
    agreement = by_file.report.agreement
    assert agreement is not None
    assert (agreement.labelers, agreement.places, agreement.kind) == (3, 12, "Fleiss")
    assert agreement.percent == pytest.approx(100 * (36 - 4) / 36)
    columns = [
        {**row, "labeler": name}
        for name, each in zip("abc", (rows, rows, turned), strict=True)
        for row in each
    ]
    by_column = join_labels(sample, [put_csv(tmp_path / "d.csv", columns)])
    assert by_column.reference.tolist() == TRUTH
    assert by_column.report.agreement == agreement
    two = join_labels(sample, files[1:])
    assert (two.report.ties, two.missing) == (2, 2)
    assert (two.reference[[3, 4]] == UNLABELED).all()
    assert "2 places where labelers are divided" in "\n".join(two.describe())


def test_an_export_of_collect_earth_online(tmp_path: Path) -> None:
    sample = make_sample()
    rows = [
        {
            "plot_id": 900 + at,
            "sample_id": 70_000 + at,
            "lon": row["lon"],
            "lat": row["lat"],
            "flagged": "false",
            "email": "a@example.org",
            "sample_geom": f"POINT({row['lon']} {row['lat']})",
            "pl_plotid": at + 1,
            "Is it crop?": row["class"],
        }
        for at, row in enumerate(rows_of(sample))
    ]
    labels = join_labels(sample, [put_csv(tmp_path / "ceo.csv", rows)])
    assert labels.reference.tolist() == TRUTH
    assert labels.by_place == POINTS


def test_a_geopackage_is_labeled_and_read_back(tmp_path: Path) -> None:
    sample = make_sample()
    path = tmp_path / "sample.gpkg"
    path.write_bytes(encode_geopackage(sample))
    assert path.read_bytes() == encode_geopackage(sample)
    found = load_sample(path)
    for name, array in sample.columns.items():
        np.testing.assert_array_equal(getattr(found, name), array)
    table = load_points(path)
    np.testing.assert_allclose(table.lon_lat, np.stack([sample.lon, sample.lat], axis=1))
    assert set(table.columns) == {"fid", "id", "plot", "class", "labeler", "note"}
    base = sqlite3.connect(path)
    for at, label in enumerate(TRUTH):
        word = ("no", "yes")[label]
        base.execute("UPDATE points SET class = ? WHERE id = ?", (word, sample.id[at].item()))
    base.commit()
    base.close()
    assert join_labels(found, [path]).reference.tolist() == TRUTH
    path.write_bytes(b"something else")
    with pytest.raises(Rejected, match="no GeoPackage of a sample"):
        load_sample(path)
    with pytest.raises(Misconfigured, match="no file"):
        load_sample(tmp_path / "absent.gpkg")


def test_imports_of_collect_earth_online_tell_nothing_of_the_map() -> None:
    sample = make_sample()
    plots, points = encode_ceo_plots(sample), encode_ceo_samples(sample)
    assert plots.splitlines()[0] == "LON,LAT,PLOTID"
    assert points.splitlines()[0] == "LON,LAT,PLOTID,SAMPLEID"
    assert len(plots.splitlines()) == len(points.splitlines()) == POINTS + 1
    first = dict(zip("LON LAT PLOTID".split(), plots.splitlines()[1].split(","), strict=True))
    assert float(first["LON"]) == pytest.approx(sample.lon[0], abs=1e-9)
    assert int(first["PLOTID"]) == 1


def test_the_document_of_a_point_names_its_stratum() -> None:
    document = json.loads(encode_sample(make_sample()))
    point = document["features"][1]["properties"]
    assert point["stratum"] == "crop"
    assert point["inclusion_probability"] == 6 / 1_000
    assert point["run_key"] == "ab" * 32
