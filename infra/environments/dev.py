"""Development: small, cheap, gone with ``cdk destroy``."""

from infra.settings import Alarms, Cluster, Data, Network, Settings, Workers

ACCOUNT = "111111111111"

SETTINGS = Settings(
    name="dev",
    account=ACCOUNT,
    region="af-south-1",
    network=Network(
        cidr="10.40.0.0/16",
        zones=2,
        nat_gateways=1,
        interface_endpoints=False,
        flow_log_days=7,
    ),
    data=Data(keep=False, public_results=False, replaced_days=7, log_days=30),
    cluster=Cluster(
        endpoint_from=("203.0.113.0/24",),
        admins=(f"arn:aws:iam::{ACCOUNT}:role/cropmask-admin",),
        system_nodes=2,
        spot_nodes=4,
        on_demand_nodes=1,
        log_days=7,
    ),
    workers=Workers(
        site="dev",
        image=f"{ACCOUNT}.dkr.ecr.af-south-1.amazonaws.com/cropmask:0.1.0",
        most=10,
        cpu_hour_price=0.03,
        max_minutes=60,
        operators=(f"arn:aws:iam::{ACCOUNT}:role/cropmask-operator",),
        workflows=False,
        index=None,
    ),
    alarms=Alarms(
        email=None,
        oldest_hours=6,
        failures_an_hour=20,
        lost_an_hour=3,
        budget_percent=80,
        runbook="https://github.com/example/cropmask/blob/main/docs/runbook.md",
    ),
)
