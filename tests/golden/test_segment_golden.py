"""Segmentations worked out by hand."""

import numpy as np
import pytest

from cropmask.core.segment import segment


def gray(rows):
    """Both bands alike; '.' is nodata."""
    values = [[-1 if word == "." else int(word) for word in row.split()] for row in rows]
    band = np.array(values)
    return np.stack([band, band]).clip(0).astype(np.uint8), band >= 0


# Range 0 to 240, so the 3 starting centers are 60, 120, 180. They take 0, 100 and 240, move onto
# them, and stay: three clusters.
FIELD_AND_POND = [
    "0   0   0 240 240 240",
    "0 100   0 240 240 240",
    "0   0   0 240 100 100",
    "0   0   0 240 240 240",
]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Nothing eliminated: the clumps, in the order of first pixels.
        ({"min_pixels": 1}, ["111222", "131222", "111244", "111222"]),
        # The single pixel joins what surrounds it; the pair is 140 * sqrt(2) = 198 off.
        ({"min_pixels": 3}, ["111222", "111222", "111233", "111222"]),
        ({"min_pixels": 3, "max_distance": 197.9}, ["111222", "111222", "111233", "111222"]),
        # The 240s are 10 pixels alike, so their mean is exactly 240: 39 200 is within 198**2.
        ({"min_pixels": 3, "max_distance": 198.0}, ["111222", "111222", "111222", "111222"]),
        ({"min_pixels": 3, "max_distance": np.inf}, ["111222", "111222", "111222", "111222"]),
        # 12 pixels against 12: equal, so the steps leave both, and the first in line joins.
        ({"min_pixels": 13, "max_distance": np.inf}, ["111111"] * 4),
        ({"min_pixels": 12, "max_distance": np.inf}, ["111222"] * 4),
    ],
)
def test_field_and_pond(settings, expected):
    colors, valid = gray(FIELD_AND_POND)
    labels = segment(colors, valid, clusters=3, **settings)
    assert ["".join(map(str, row)) for row in labels] == expected


# Range 0 to 200, centers 40, 80, 120, 160 take 0, 90, 110, 200: four clusters of 6, 3, 2, 7.
ROW = ["0 0 0 0 0 0 90 90 90 110 110 200 200 200 200 200 200 200"]


@pytest.mark.parametrize(
    ("min_pixels", "max_distance", "expected"),
    [
        (2, 100.0, "111111222334444444"),
        # Step 2: the 110s are 28 from the 90s, 127 from the 200s. Together 5 of mean 98.
        (3, 100.0, "111111222223333333"),
        # Step 5: 138.6 to the 0s, 144.2 to the 200s.
        (6, 100.0, "111111222223333333"),
        (6, 138.5, "111111222223333333"),
        (6, 138.7, "111111111112222222"),
        (6, np.inf, "111111111112222222"),
        # Step 7: the 200s have 7 pixels, their neighbor 11 of mean 490 / 11.
        (8, np.inf, "111111111111111111"),
        (8, 150.0, "111111111112222222"),
    ],
)
def test_steps_in_a_row(min_pixels, max_distance, expected):
    colors, valid = gray(ROW)
    labels = segment(colors, valid, clusters=4, min_pixels=min_pixels, max_distance=max_distance)
    assert "".join(map(str, labels[0])) == expected


# Range 0 to 255, 10 starting centers 23.2 apart: 0, 90, 110 and 255 are four clusters.
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # 110 is nearer to 90, which joins the 0s in the same round: too late for 110 to follow.
        (["0 0 0", ". 90 .", ". 110 .", "255 255 255"], ["111", "010", "020", "222"]),
        # No other neighbor: 110 follows one round later.
        (
            ["0 0 0", ". 90 .", ". 110 .", ". . .", "255 255 255"],
            ["111", "010", "010", "000", "222"],
        ),
    ],
)
def test_single_pixels_go_in_rounds(rows, expected):
    colors, valid = gray(rows)
    labels = segment(colors, valid, clusters=10, min_pixels=2, max_distance=0.0)
    assert ["".join(map(str, row)) for row in labels] == expected


def test_single_pixel_between_two_of_equal_distance_goes_up():
    colors, valid = gray(["0 0 0", ". 50 .", "100 100 100"])
    labels = segment(colors, valid, clusters=3, min_pixels=2)
    assert ["".join(map(str, row)) for row in labels] == ["111", "010", "222"]


def test_chessboard_of_singles_is_merged_by_the_line():
    """No neighbor is ever larger, so the published steps alone would leave 4 single pixels."""
    colors, valid = gray(["0 100", "100 0"])
    # First in line, pixel 1 joins pixel 2 (a tie with 3, the lower label). Pixel 3 is nearer to the
    # pair (mean 50) than to pixel 4, and pixel 4 is the last. Colors are 141 apart.
    assert segment(colors, valid, clusters=2, min_pixels=2, max_distance=np.inf).tolist() == [
        [1, 1],
        [1, 1],
    ]
    assert segment(colors, valid, clusters=2, min_pixels=2, max_distance=100.0).tolist() == [
        [1, 2],
        [3, 4],
    ]


# The 50 is as far from the 0s as from the 100s. Starting centers 25, 50, 75 take one shade each.
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["0 0 0 0 50 50 100 100 100 100"], ["1111112222"]),
        (["100 100 100 100 50 50 0 0 0 0"], ["1111112222"]),
        # The walk meets the 0s first, above; the 100s to the left come first in the image.
        (["100 100 100", "100 0 0", "100 0 0", "100 50 50"], ["111", "122", "122", "111"]),
    ],
)
def test_tie_between_segments_goes_to_the_one_that_comes_first(rows, expected):
    colors, valid = gray(rows)
    labels = segment(colors, valid, clusters=3, min_pixels=3)
    assert ["".join(map(str, row)) for row in labels] == expected


def test_distances_are_float32():
    """Means 100, 451 / 9 and 1349 / 9: a tie in truth, but the right one is nearer in float32."""
    colors, valid = gray([" ".join(["50"] * 8 + ["51"] + ["100"] * 3 + ["149"] + ["150"] * 8)])
    labels = segment(colors, valid, clusters=3, min_pixels=4)
    assert "".join(map(str, labels[0])) == "111111111222222222222"
