"""From files to labeled places: classes, names, dates, and what several labelers said."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from cropmask.assess.labelpoints import PointColumns, collect_points
from cropmask.errors import Rejected
from tests.shareddata import shared

QUESTION = "Is the sample area entirely: crop, non-crop, mixed, or unsure?"


def put(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def put_export(path: Path, labeler: str, answers: dict[str, str], flagged: str = "") -> Path:
    lines = ["plot_id,sample_id,lon,lat,flagged,email,collection_time,pl_class,Crop?"]
    lines += [
        f"{plot},{plot}1,{10 + int(plot)},5,{str(plot in flagged).lower()},{labeler},t,1,{answer}"
        for plot, answer in answers.items()
    ]
    return put(path, *lines)


def test_rows_are_places(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.csv",
        "id,lon,lat,class,date",
        "a,36,-1,crop,2019-03-02",
        "b,37,-1,Non-Crop,2019/4/1",
        "c,38,-1,mixed,2019",
        "d,39,-1,,2019",
        "e,39,-2,1,2019-05",
        "f,39,-3,0,last spring",
        "g,39,-4,0,2019-02-30",
        "h,39,-5,0,2019-06-30T10:11:12Z",
        "i,39,-6,0,",
    )
    points, report = collect_points([path])
    assert [(point.id, point.label, point.date) for point in points] == [
        ("a", 1, "2019-03-02"),
        ("b", 0, "2019-04-01"),
        ("e", 1, "2019-05"),
        ("f", 0, None),
        ("g", 0, None),
        ("h", 0, "2019-06-30"),
        ("i", 0, None),
    ]
    assert (points[0].lon, points[0].lat) == (36, -1)
    assert (report.rows, report.unlabeled, report.unread_dates) == (9, 1, 2)
    assert report.unknown == {"mixed": 1}
    assert report.left_out == 2
    assert report.agreement is None


def test_columns_and_values_of_ones_own(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "site,x,y,cover", "a,36,-1,40", "b,37,-1,10", "c,38,1,")
    columns = PointColumns("cover", "site", None, ("40",), ("*",))
    points, report = collect_points([path], columns)
    assert [(point.id, point.label) for point in points] == [("a", 1), ("b", 0)]
    assert report.unlabeled == 1
    with pytest.raises(Rejected, match="no column 'class': name one of its own with --label"):
        collect_points([path])
    with pytest.raises(Rejected, match=r"no row has a class: its labels are '40', '10'; say with"):
        collect_points([path], PointColumns("cover"))


def test_rows_without_names_are_counted_over_all_files(tmp_path: Path) -> None:
    one = put(tmp_path / "a.csv", "lon,lat,class", "36,-1,crop")
    two = put(tmp_path / "b.csv", "lon,lat,class", "37,-1,crop", "38,-1,no")
    points, _ = collect_points([one, two])
    assert [point.id for point in points] == ["1", "2", "3"]


def test_names_come_once(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.csv", "id,lon,lat,class", *["a,36,-1,crop"] * 3, "b,1,1,no", "b,1,1,no"
    )
    with pytest.raises(Rejected, match=r"the id 'a' is there several times, in row 2"):
        collect_points([path])


def test_labelers_of_an_export_are_brought_together(tmp_path: Path) -> None:
    files = [
        put_export(tmp_path / "a.csv", "ann", {"1": "crop", "2": "crop", "3": "no", "4": "mixed"}),
        put_export(tmp_path / "b.csv", "bob", {"1": "crop", "2": "no", "3": "no", "4": "mixed"}),
        put_export(tmp_path / "c.csv", "cem", {"1": "no", "2": "", "3": "no", "5": "no"}, "5"),
    ]
    points, report = collect_points(files)
    assert [(point.id, point.label, point.lon) for point in points] == [
        ("1-11", 1, 11),
        ("3-31", 0, 13),
    ]
    assert (report.ties, report.unlabeled, report.unknown) == (1, 1, {"mixed": 1})
    agreement = report.agreement
    assert agreement is not None
    assert (agreement.labelers, agreement.places, agreement.kind) == (3, 4, "Fleiss")
    # Pairs: 1 of 3, 0 of 1, 3 of 3, 1 of 1.
    assert agreement.percent == pytest.approx(100 * 5 / 8)


def test_exports_that_do_not_fit_together(tmp_path: Path) -> None:
    one = put_export(tmp_path / "a.csv", "ann", {"1": "crop"})
    again = put_export(tmp_path / "b.csv", "ann", {"1": "no"})
    with pytest.raises(Rejected, match="labeler 'ann' is in another file as well"):
        collect_points([one, again])
    moved = put_export(tmp_path / "c.csv", "bob", {"1": "no"})
    moved.write_text(moved.read_text().replace(",11,5,", ",12,5,"))
    with pytest.raises(Rejected, match="sample 11 of plot 1 lies in two places"):
        collect_points([one, moved])
    plain = put(tmp_path / "d.csv", "lon,lat,class", "1,1,crop")
    with pytest.raises(Rejected, match="cannot be mixed"):
        collect_points([one, plain])
    two = put(tmp_path / "e.csv", *one.read_text().splitlines())
    two.write_text(
        two.read_text().replace("Crop?", "Crop?,Irrigated?").replace("1,crop", "1,crop,no")
    )
    with pytest.raises(Rejected, match="several questions or none: give --label, one of 'Crop"):
        collect_points([two])
    assert collect_points([two], PointColumns("Crop?"))[0][0].label == 1


def test_real_exports_of_two_labelers() -> None:
    files = [shared(f"validation/ceo_export_labeler-{number}.csv") for number in (1, 2)]
    points, report = collect_points(files)
    answers = []
    for file in files:
        with file.open(newline="") as opened:
            answers.append({row["sample_id"]: row[QUESTION] for row in csv.DictReader(opened)})
    pairs = [(answers[0][key], answers[1][key]) for key in answers[0]]
    empty = [pair for pair in pairs if pair == ("", "")]
    one, two = zip(*(pair for pair in pairs if all(pair)), strict=True)
    assert len(one) + len(empty) == len(pairs)
    assert report.agreement is not None
    assert report.agreement.places == len(one)
    assert report.agreement.kappa == pytest.approx(cohen_kappa_score(one, two))
    same = [a for a, b in zip(one, two, strict=True) if a == b]
    assert report.agreement.percent == pytest.approx(100 * len(same) / len(one))
    assert (report.ties, report.unlabeled) == (len(one) - len(same), len(empty))
    assert sum(point.label for point in points) == same.count("crop")
    assert len(points) == same.count("crop") + same.count("non-crop")
    assert report.unknown == {
        word: same.count(word) for word in ("mixed", "unsure") if same.count(word)
    }
