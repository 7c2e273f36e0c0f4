from __future__ import annotations

from infra.settings import Settings
from infra.tests.synthesized import Synthesized


def test_the_account_has_a_budget_and_people_hear_of_it(
    cloud: Synthesized, settings: Settings
) -> None:
    found = cloud.one("AWS::Budgets::Budget")
    budget = found["Budget"]
    assert budget["BudgetLimit"] == {"Amount": settings.budget.dollars, "Unit": "USD"}
    assert (budget["BudgetType"], budget["TimeUnit"]) == ("COST", "MONTHLY")
    # Of everything: by tags that nobody activated it would see nothing.
    assert "CostFilters" not in budget
    alerts = found["NotificationsWithSubscribers"]
    heard = {
        (a["Notification"]["NotificationType"], a["Notification"]["Threshold"]) for a in alerts
    }
    assert heard == {("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}
    for alert in alerts:
        assert alert["Notification"]["ComparisonOperator"] == "GREATER_THAN"
        assert alert["Notification"]["ThresholdType"] == "PERCENTAGE"
        addresses = [subscriber["Address"] for subscriber in alert["Subscribers"]]
        assert addresses == list(settings.budget.emails)
