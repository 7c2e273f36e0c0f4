"""What ``make infra-synth`` left, for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CDK_OUT = Path(__file__).parents[1] / "cdk.out"


def template_of(environment: str, part: str) -> dict[str, Any]:
    """Template of one stack."""
    file = CDK_OUT / environment / f"cropmask-{environment}-{part}.template.json"
    assert file.is_file(), "synthesize first, with 'make infra-synth'"
    template: dict[str, Any] = json.loads(file.read_text())
    return template
