"""Docstrings on the site: roles of Sphinx (``:class:`x```), which are no Markdown, become code."""

from __future__ import annotations

import re
from typing import Any, Final

import griffe

ROLE: Final = re.compile(r":(?:class|func|data|meth|attr|mod):`~?([^`]+)`")


class PlainRoles(griffe.Extension):
    """Takes the roles out of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 (griffe's)
        """Change the docstring of an object that was read."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
