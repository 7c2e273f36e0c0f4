"""The dashboard of a template, as CloudWatch would get it."""

from __future__ import annotations

import json
from typing import Any

from infra.standins.templates import template_of


def widgets_of(environment: str) -> list[dict[str, Any]]:
    """Widgets of an environment's dashboard; what CloudFormation fills in is left out."""
    resources = template_of(environment, "observability")["Resources"].values()
    (made,) = [r["Properties"] for r in resources if r["Type"] == "AWS::CloudWatch::Dashboard"]
    parts = made["DashboardBody"]["Fn::Join"][1]
    body = "".join(part if isinstance(part, str) else "" for part in parts)
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets
