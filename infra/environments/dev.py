"""Development: small, cheap, gone with ``cdk destroy``."""

from infra.offers import CAPE_TOWN
from infra.settings import Alarms, Budget, Cluster, Data, Images, Network, Price, Settings, Workers

ACCOUNT = "111111111111"

SETTINGS = Settings(
    name="dev",
    account=ACCOUNT,
    region="af-south-1",
    network=Network(
        cidr="10.40.0.0/16",
        zones=("a", "b"),
        nat_gateways=1,
        interface_endpoints=False,
        flow_log_days=7,
    ),
    data=Data(keep=False, public_results=False, replaced_days=7, log_days=30),
    images=Images(keep=20, readers=("222222222222",), scan=True),
    cluster=Cluster(
        endpoint_from=("203.0.113.0/24",),
        admins=(),
        nodes="groups",
        architecture="x86_64",
        types=CAPE_TOWN,
        system_types=("m6i.large", "m5.large", "m7i.large"),
        system_nodes=2,
        spot_nodes=4,
        on_demand_nodes=1,
        disk_gib=60,
        log_days=7,
    ),
    workers=Workers(
        site="dev",
        image=None,
        most=10,
        cpu_hour_price=Price(
            dollars=0.0425, date="2026-07-20", source="c5.2xlarge on demand in us-east-1"
        ),
        max_minutes=60,
        operators=(),
        workflows=False,
        index=None,
        campaigns=None,
    ),
    budget=Budget(dollars=500, emails=("cropmask-operators@example.org",)),
    alarms=Alarms(
        email=None,
        oldest_hours=6,
        failures_an_hour=20,
        lost_an_hour=3,
        budget_percent=80,
        runbook="https://github.com/example/cropmask/blob/main/docs/runbook.md",
    ),
)
