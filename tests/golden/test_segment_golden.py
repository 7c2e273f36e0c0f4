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
        # 12 pixels against 12: neither is larger, so the steps leave both.
        ({"min_pixels": 13, "max_distance": np.inf}, ["111222"] * 4),
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


def test_chessboard_of_singles_stays():
    """No neighbor is ever larger."""
    colors, valid = gray(["0 100", "100 0"])
    labels = segment(colors, valid, clusters=2, min_pixels=2, max_distance=np.inf)
    assert labels.tolist() == [[1, 2], [3, 4]]


# Pairs of 0, 45, 60 and a field of 160: apart by 64, 21 and 141.
@pytest.mark.parametrize(
    ("rows", "max_distance", "expected"),
    [
        # All pairs have two pixels. In the first pass only the 60s have a larger neighbor, the
        # field; then the 45s have one, and after them the 0s: each a pass later.
        (["0 0 45 45 60 60 160 160 160 160"], np.inf, "1111111111"),
        # The field is 141 away from the 60s: nobody begins.
        (["0 0 45 45 60 60 160 160 160 160"], 140.0, "1122334444"),
        # The 60s join the field, whose mean becomes 760 / 6 = 126.7, which is 115.5 from the 45s.
        # With them it is 850 / 8 = 106.25, which is 150.3 from the 0s.
        (["0 0 45 45 60 60 160 160 160 160"], 142.0, "1122222222"),
    ],
)
def test_who_was_turned_down_asks_again_within_its_step(rows, max_distance, expected):
    colors, valid = gray(rows)
    settings = {"clusters": 60, "min_pixels": 3, "max_distance": max_distance}
    assert "".join(map(str, segment(colors, valid, **settings)[0])) == expected


def test_a_step_has_ten_passes():
    """Twelve pairs in a row: each pass the field takes the one beside it, and two stay."""
    shades = [20 * (pair % 2) for pair in range(12)]
    colors, valid = gray([" ".join(f"{shade} {shade}" for shade in shades) + " 60 60 60 60 60"])
    labels = segment(colors, valid, clusters=60, min_pixels=3, max_distance=np.inf)[0]
    assert labels.tolist() == [1, 1, 2, 2] + [3] * 25


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
