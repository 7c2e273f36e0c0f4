"""Production: private, three zones, results that stay."""

from infra.offers import CAPE_TOWN
from infra.settings import (
    Alarms,
    Budget,
    Campaigns,
    Cluster,
    Data,
    Images,
    Index,
    Network,
    Price,
    Settings,
    Workers,
)

ACCOUNT = "222222222222"

SETTINGS = Settings(
    name="prod",
    account=ACCOUNT,
    region="af-south-1",
    network=Network(
        cidr="10.41.0.0/16",
        zones=("a", "b", "c"),
        nat_gateways=3,
        interface_endpoints=True,
        flow_log_days=90,
    ),
    data=Data(keep=True, public_results=True, replaced_days=90, log_days=365),
    images=Images(keep=50, readers=(), scan=True),
    cluster=Cluster(
        endpoint_from=(),
        admins=(),
        nodes="groups",
        architecture="x86_64",
        types=CAPE_TOWN,
        system_types=("m6i.large", "m5.large", "m7i.large"),
        system_nodes=2,
        spot_nodes=40,
        on_demand_nodes=5,
        disk_gib=60,
        log_days=90,
    ),
    workers=Workers(
        site="prod",
        image=None,
        most=160,
        cpu_hour_price=Price(
            dollars=0.0425, date="2026-07-20", source="c5.2xlarge on demand in us-east-1"
        ),
        max_minutes=120,
        operators=(),
        workflows=True,
        index=Index(
            schedule="15 3 * * *",
            image=None,
            database="10.41.0.0/16",
        ),
        campaigns=Campaigns(
            regions=(
                *("central", "eastern", "indian_ocean", "northern"),
                *("sahel", "southeast", "southern", "western"),
            ),
            hour=4,
            resolution=10,
            canary=10,
            missing=0,
            max_cost=100,
        ),
    ),
    budget=Budget(dollars=5_000, emails=("cropmask-operators@example.org",)),
    alarms=Alarms(
        email="cropmask-operators@example.org",
        oldest_hours=12,
        failures_an_hour=50,
        lost_an_hour=10,
        budget_percent=80,
        runbook="https://github.com/example/cropmask/blob/main/docs/runbook.md",
    ),
)
