"""What the account may cost in a month, and who hears of it before and after."""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_budgets as budgets
from constructs import Construct

from infra.naming import CropmaskStack
from infra.places import BUDGETS_REGION
from infra.settings import Settings

_SPENT: Final = (50, 80, 100)
"""Percent of the budget that were spent, at which people hear of it."""
_EXPECTED: Final = 100
"""Percent that the month is expected to cost."""


class BudgetStack(CropmaskStack):
    """A budget of the whole account: by tags it would see nothing until somebody activates them."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, settings, "budget", "what a month may cost", BUDGETS_REGION)
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=self.places.cluster,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(
                    amount=settings.budget.dollars, unit="USD"
                ),
            ),
            notifications_with_subscribers=[
                *(self._alert("ACTUAL", percent) for percent in _SPENT),
                self._alert("FORECASTED", _EXPECTED),
            ],
        )

    def _alert(
        self, kind: str, percent: int
    ) -> budgets.CfnBudget.NotificationWithSubscribersProperty:
        return budgets.CfnBudget.NotificationWithSubscribersProperty(
            notification=budgets.CfnBudget.NotificationProperty(
                notification_type=kind,
                comparison_operator="GREATER_THAN",
                threshold=percent,
                threshold_type="PERCENTAGE",
            ),
            subscribers=[
                budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=address)
                for address in self.settings.budget.emails
            ],
        )
