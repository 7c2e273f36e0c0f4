"""JSON documents from outside as frozen values: every field has its type, every number an end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

T = TypeVar("T")


def read_object(text: str | bytes) -> dict[str, Any]:
    """Object of a JSON document.

    Raises ValueError if it is none, or has numbers that JSON does not know; the message says so in
    a few words.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        found = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def read_known(kind: type, text: str | bytes) -> dict[str, Any]:
    """What a JSON object says of the fields of a dataclass; what a later version added is left out.

    Raises ValueError as :func:`read_object`.
    """
    found = read_object(text)
    return {name: found[name] for name in _names_of(kind) if name in found}


@cache
def _names_of(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def describe_fault(error: Exception) -> str:
    """What is wrong with a document, in a few words, of the error that reading it raised."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def check_fields(kind: type[T], values: Mapping[str, Any]) -> T:
    """Dataclass of its fields, each of exactly the type that it declares.

    Raises ValueError if one is missing, unknown or has another type; the message names it.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__.lower()}: it is no JSON object")
    names, adapter = _find_adapter(kind)  # type: ignore[arg-type]  # mypy: a type is hashable
    if unknown := sorted(values.keys() - names):
        raise ValueError(f"{unknown[0]}: it is not known")
    try:
        checked = adapter.validate_python(dict(values), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}") from None
    try:
        return kind(**checked)
    except TypeError:
        missing = [name for name in names if name not in values]
        raise ValueError(f"{missing[0]}: it is missing") from None


@cache
def _find_adapter(kind: type) -> tuple[dict[str, Any], TypeAdapter[dict[str, Any]]]:
    """Types of the fields by name, and one check of them all: many times faster than one each."""
    hints = get_type_hints(kind)
    return hints, TypeAdapter(TypedDict(kind.__name__, hints, total=False))  # type: ignore[operator]
