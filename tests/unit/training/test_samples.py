from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from cropmask.core.features import FEATURES
from cropmask.core.formulas import compute_rows
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.training.samples import (
    SampleRow,
    encode_header,
    encode_row,
    find_left_out,
    load_coordinates,
    load_samples,
)
from tests.shareddata import shared
from tests.unit.training.tables import make_samples, put_samples

HEADER = "# Class " + " ".join(FEATURES)
ROW = " ".join(["1"] + ["0.5"] * 33)
OTHER = " ".join(["0"] + ["0.25"] * 33)


def table(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def test_loads_what_was_written(tmp_path: Path) -> None:
    samples = make_samples(30)
    path = put_samples(tmp_path / "s.txt", samples)
    found = load_samples(path)
    assert found.names == FEATURES
    assert found.features.dtype == np.float32
    np.testing.assert_array_equal(found.features, samples.features)
    np.testing.assert_array_equal(found.labels, samples.labels)
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.crop_rows == samples.labels.sum()


def test_columns_come_in_any_order(tmp_path: Path) -> None:
    samples = make_samples(30)
    turned = tuple(reversed(FEATURES))
    found = load_samples(put_samples(tmp_path / "s.txt", samples, turned))
    np.testing.assert_array_equal(found.features, samples.features)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("#\n", "it is empty"),
        (table(ROW, OTHER), "first line must name the columns"),
        (table(HEADER), "no rows"),
        (table(HEADER.replace(" slope", ""), ROW), "missing column 'slope'"),
        (table(HEADER.replace("Class ", ""), ROW), "missing column 'Class'"),
        (table(HEADER + " x", ROW), "unknown column 'x'"),
        (table(HEADER + " slope", ROW), "repeated column 'slope'"),
        (table("# Class a b c d"), "and 30 more"),
        (table(HEADER, ROW, OTHER + " 1"), "line 3 has 35 values instead of 34"),
        (table(HEADER, ROW, "", OTHER[:-5]), "line 4 has 33 values"),
        (table(HEADER, ROW, OTHER[:-4] + "zero"), "line 3 has 'zero'"),
        (table(HEADER, ROW, OTHER[:-4] + "nan"), "row 2 has a value that is not finite"),
        (table(HEADER, ROW, OTHER[:-4] + "-inf"), "row 2 has a value that is not finite"),
        (table(HEADER, ROW, OTHER[:-4] + "1e39"), "row 2 has a value that is not finite"),
        (table(HEADER, ROW, "2" + OTHER[1:]), "row 2 has Class 2"),
        (table(HEADER, ROW, "0.5" + OTHER[1:]), "row 2 has Class 0.5"),
        (table(HEADER, ROW, ROW), "both classes are needed"),
    ],
)
def test_broken_tables_get_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text(text)
    with pytest.raises(Rejected) as caught:
        load_samples(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_is_no_text_file(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes(b"\x80\xff\x00")
    with pytest.raises(Rejected, match="not text"):
        load_samples(tmp_path / "s.txt")
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_samples(tmp_path / "none.txt")
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_samples(tmp_path)


def test_columns_of_origin_are_kept(tmp_path: Path) -> None:
    samples = make_samples(3, seed=4)
    rows = [
        SampleRow(name, 36.5 + at, -1.25, date, "x215y075", at + 1, at % 2, samples.features[at])
        for at, (name, date) in enumerate([("a b", "2019-05"), ("#1%20", None), ("ä\u2028", None)])
    ]
    path = tmp_path / "s.txt"
    body = "".join(map(encode_row, rows))
    path.write_text(f"{encode_header()}# made by hand\n{body}# left out: somehow\n", "utf-8")
    found = load_samples(path)
    np.testing.assert_array_equal(found.features, samples.features)
    assert found.labels.tolist() == [0, 1, 0]
    origins = found.origins
    assert origins.ids == ("a b", "#1%20", "ä\u2028")
    assert origins.dates == ("2019-05", "-", "-")
    assert origins.tiles == ("x215y075",) * 3
    assert origins.pixels is not None
    assert origins.pixels.tolist() == [1, 2, 3]
    assert origins.lon_lat is not None
    assert origins.lon_lat.tolist() == [[36.5, -1.25], [37.5, -1.25], [38.5, -1.25]]
    # x of EPSG:6933 is that of a cylinder which is true to scale at 30 degrees.
    meters = origins.coordinates
    assert meters is not None
    step = np.pi / 180 * 6378137 * np.cos(np.pi / 6) / np.sqrt(1 - 0.00669438 * 0.25)
    np.testing.assert_allclose(meters[:, 0], step * np.array([36.5, 37.5, 38.5]), rtol=1e-7)
    assert found.remarks == ("made by hand", "left out: somehow")
    assert find_left_out(found.remarks) == {}


def test_a_table_may_have_some_columns_of_origin(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text(table(f"{HEADER} lat lon", f"{ROW} -1 36", f"{OTHER} 2 37"))
    origins = load_samples(path).origins
    assert origins.lon_lat is not None
    assert origins.lon_lat.tolist() == [[36, -1], [37, 2]]
    assert (origins.ids, origins.dates, origins.tiles, origins.pixels) == (None,) * 4
    for text, words in {
        table(f"{HEADER} lon", f"{ROW} 36"): "missing column 'lat'",
        table(f"{HEADER} lon lat", f"{ROW} 36 91", f"{OTHER} 1 1"): "row 1 has a lon and lat that",
        table(f"{HEADER} pixels", f"{ROW} many"): "line 2 has 'many', which is no number",
    }.items():
        path.write_text(text)
        with pytest.raises(Rejected, match=words):
            load_samples(path)


def test_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("# x y\n3264000.5 -192000\n3264010 -192000\n")
    assert load_coordinates(path, 2).tolist() == [[3264000.5, -192000], [3264010, -192000]]
    path.write_text("3264000.5 -192000\n3264010 -192000\n")
    assert len(load_coordinates(path, 2)) == 2
    with pytest.raises(Rejected, match="2 rows and the samples have 3"):
        load_coordinates(path, 3)
    path.write_text("30 -1\n31 0\n")
    with pytest.raises(Rejected, match="degrees"):
        load_coordinates(path, 2)
    path.write_text("30 -1 5\n")
    with pytest.raises(Rejected, match="3 values instead of 2"):
        load_coordinates(path, 1)


@pytest.mark.parametrize(("region", "rows", "crop"), [("eastern", 4444, 49), ("western", 2113, 42)])
def test_the_real_samples(region: str, rows: int, crop: int) -> None:
    samples = load_samples(shared(f"training/{region}.txt"))
    assert samples.features.shape == (rows, 33)
    assert round(100 * samples.crop_rows / rows) == crop
    assert load_coordinates(shared(f"coordinates/{region}.txt"), rows).shape == (rows, 2)


def test_a_table_may_have_expressions(tmp_path: Path) -> None:
    samples, path = make_samples(4, seed=3), tmp_path / "s.txt"
    texts = ("nd(nir_S1, red_S1)", "log(ratio(raw_bcdev_S1,raw_bcdev_S2))")
    rows = [
        SampleRow("a", 1, 1, None, "x215y075", 1, at % 2, np.append(samples.features[at], [at, 5]))
        for at in range(4)
    ]
    path.write_text(encode_header(texts) + "".join(map(encode_row, rows)))
    found = load_samples(path)
    assert found.names[:33] == FEATURES
    assert found.names[33:] == ("nd(nir_S1,red_S1)", "log(ratio(raw_bcdev_S1,raw_bcdev_S2))")
    np.testing.assert_array_equal(found.compute(FEATURES), samples.features)
    own = found.compute((*texts, "difference(nir_S1,red_S1)"))
    # What the table has is taken from it: a median of values is not a value of medians.
    assert own[:, 0].tolist() == [0, 1, 2, 3]
    assert own[:, 1].tolist() == [5] * 4
    nir, red = (samples.features[:, FEATURES.index(name)] for name in ("nir_S1", "red_S1"))
    np.testing.assert_array_equal(own[:, 2], nir - red)
    names = ("blue_S1", *texts)
    expected = compute_rows(names, FEATURES, samples.features)
    np.testing.assert_array_equal(samples.compute(names), expected)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("exp(slope)", "column 'exp.slope.' is no feature: 'exp' is no operation"),
        ("nd(slope", "column 'nd.slope' is no feature"),
        ("__import__('os')", "only names, commas"),
        ("nd(slope,slope)", "repeated column"),
    ],
)
def test_columns_that_are_no_expressions(tmp_path: Path, column: str, words: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text(table(f"{HEADER} {column} nd(slope,slope)", f"{ROW} 1 2", f"{OTHER} 1 2"))
    with pytest.raises(Rejected, match=words) as caught:
        load_samples(path)
    assert caught.value.reason is Reason.BAD_SAMPLES
