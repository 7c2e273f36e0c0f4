"""Production: private, three zones, results that stay."""

from infra.settings import Alarms, Cluster, Data, Index, Network, Settings, Workers

ACCOUNT = "222222222222"

SETTINGS = Settings(
    name="prod",
    account=ACCOUNT,
    region="af-south-1",
    network=Network(
        cidr="10.41.0.0/16",
        zones=3,
        nat_gateways=3,
        interface_endpoints=True,
        flow_log_days=90,
    ),
    data=Data(keep=True, public_results=True, replaced_days=90, log_days=365),
    cluster=Cluster(
        endpoint_from=(),
        admins=(f"arn:aws:iam::{ACCOUNT}:role/cropmask-admin",),
        system_nodes=2,
        spot_nodes=40,
        on_demand_nodes=5,
        log_days=90,
    ),
    workers=Workers(
        site="prod",
        image=f"{ACCOUNT}.dkr.ecr.af-south-1.amazonaws.com/cropmask:0.1.0",
        most=120,
        cpu_hour_price=0.03,
        max_minutes=120,
        operators=(f"arn:aws:iam::{ACCOUNT}:role/cropmask-operator",),
        workflows=True,
        index=Index(
            schedule="15 3 * * *",
            image=f"{ACCOUNT}.dkr.ecr.af-south-1.amazonaws.com/cropmask-indexer:0.1.0",
            database="10.41.0.0/16",
        ),
    ),
    alarms=Alarms(
        email="cropmask-operators@example.org",
        oldest_hours=12,
        failures_an_hour=50,
        lost_an_hour=10,
        budget_percent=80,
        runbook="https://github.com/example/cropmask/blob/main/docs/runbook.md",
    ),
)
