"""Run keys: any part that changes gives another key and is named; nothing else does."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.tile.runkey import (
    CAUSE_OF_PART,
    Change,
    ChangeCause,
    KeyParts,
    item_words,
    list_changes,
)

PARTS = tuple(f.name for f in fields(KeyParts))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(-9, 9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
EVERY = st.fixed_dictionaries(dict.fromkeys(PARTS, VALUES))


def item_of(parts: KeyParts, **words: Any) -> dict[str, Any]:
    return {
        "cropmask:run_key": str(parts.key),
        "cropmask:run_key_parts": parts.short,
        "cropmask:model": {"recipe": "forest", "sha256": "ab" * 32},
        "cropmask:resolution": 10,
        "odc:dataset_version": "1.0.0",
        "processing:version": "0.1.0",
        **words,
    }


WORDS = {"model": "forest abababababab", "resolution": "10", "region": "1.0.0", "code": "0.1.0"}


@given(EVERY, st.randoms())
def test_the_order_of_parts_and_names_does_not_matter(values: dict[str, Any], rng: Any) -> None:
    shuffled = list(values.items())
    rng.shuffle(shuffled)

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(value)}
        return [turned(entry) for entry in value] if isinstance(value, list) else value

    again = KeyParts.of(**{name: turned(value) for name, value in shuffled})
    assert again == KeyParts.of(**values)
    assert again.key == KeyParts.of(**values).key


@given(EVERY, st.lists(st.sampled_from(PARTS), min_size=1, unique=True))
def test_what_changes_is_named_and_nothing_else(values: dict[str, Any], names: list[str]) -> None:
    before = KeyParts.of(**values)
    after = KeyParts.of(**{**values, **{name: ["other", values[name]] for name in names}})
    assert after.key != before.key
    changes = list_changes(item_of(before), after, WORDS)
    assert {change.part for change in changes} == set(names)
    assert all(change.cause is CAUSE_OF_PART[change.part] for change in changes)
    assert after.differing(after.short) == ()


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_a_cause(name: str) -> None:
    assert CAUSE_OF_PART[name] in set(ChangeCause) - {ChangeCause.OTHER}


def test_a_part_too_few_or_too_many_is_a_fault_of_ours() -> None:
    every = dict.fromkeys(PARTS, 1)
    with pytest.raises(TypeError):
        KeyParts.of(**{**every, "weather": 1})
    del every["boundary"]
    with pytest.raises(TypeError):
        KeyParts.of(**every)


PART_VALUES = dict.fromkeys(PARTS, 1)


@pytest.mark.parametrize(
    ("part", "now", "said"),
    [
        ("resolution", "60", "another resolution (10, now 60)"),
        ("model", "boosted cdcdcdcdcdcd", "another model (forest abababababab, now boosted cdcd"),
        ("code", "0.2.0", "another software (0.1.0, now 0.2.0)"),
    ],
)
def test_what_has_words_is_said_in_words(part: str, now: str, said: str) -> None:
    before, after = KeyParts.of(**PART_VALUES), KeyParts.of(**{**PART_VALUES, part: 2})
    for item in (item_of(before), item_of(before, **{"cropmask:run_key_parts": None})):
        (change,) = list_changes(item, after, {**WORDS, part: now})
        assert said in str(change)


def test_what_has_no_words_is_named() -> None:
    before = KeyParts.of(**PART_VALUES)
    after = KeyParts.of(**{**PART_VALUES, "geomad": 2, "limits": 2})
    changes = list_changes(item_of(before), after, WORDS)
    assert [str(change) for change in changes] == ["other limits", "other GeoMAD"]


def test_an_item_that_does_not_tell_is_said_to_not_tell() -> None:
    after = KeyParts.of(**PART_VALUES)
    assert list_changes(item_of(after), after, WORDS) == ()
    properties = item_of(after) | {"cropmask:run_key": "0" * 64}
    del properties["cropmask:run_key_parts"]
    assert list_changes(properties, after, WORDS) == (Change(ChangeCause.OTHER, "run_key"),)
    assert "does not tell" in str(Change(ChangeCause.OTHER, "run_key"))
    assert item_words({"cropmask:model": "?"}) == {}
