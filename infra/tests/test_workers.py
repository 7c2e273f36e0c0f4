from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from cropmask import contract
from cropmask.kube.namespace import CONFIG_MAP
from cropmask.kube.workermanifests import WorkerPod, make_labels, make_pod
from infra.places import Places
from infra.settings import Settings, load_settings
from infra.tests.synthesized import Synthesized
from tests.references import missing_references

MODELS = Path(__file__).parents[2] / "models"


def test_the_namespace_admits_restricted_pods_only(cloud: Synthesized) -> None:
    namespace = cloud.manifest("Namespace")
    labels = namespace["metadata"]["labels"]
    assert namespace["metadata"]["name"] == contract.NAMESPACE
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_workers_are_scaled_by_the_queue(cloud: Synthesized, settings: Settings) -> None:
    scaled = cloud.manifest("ScaledJob")["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["queueURL"] == Places(settings).tasks.url
    assert trigger["metadata"]["awsRegion"] == settings.region
    assert scaled["maxReplicaCount"] == settings.workers.most
    (container,) = scaled["jobTargetRef"]["template"]["spec"]["containers"]
    assert container["image"] == cloud.image("worker")
    assert container["command"] == ["cropmask", "worker"]


def test_pods_are_those_of_the_manifests(cloud: Synthesized, settings: Settings) -> None:
    """What is deployed is what ``jobs/`` shows, but for image and label of the environment."""
    worker = WorkerPod(
        cloud.image("worker"),
        config_map=CONFIG_MAP,
        labels=make_labels(environment=settings.name),
    )
    assert cloud.manifest("ScaledJob")["spec"]["jobTargetRef"]["template"] == make_pod(worker)


def test_settings_of_workers_are_known_variables(cloud: Synthesized, settings: Settings) -> None:
    values = cloud.manifest("ConfigMap")["data"]
    places = Places(settings)
    ours = {name for name in values if name.startswith(contract.ENV_PREFIX)}
    assert ours <= set(contract.ENVIRONMENT_VARIABLES)
    assert values[contract.ENV_QUEUE] == places.tasks.url
    assert values[contract.ENV_DEAD_LETTERS] == places.dead_letters.url
    assert values[contract.ENV_OUTPUT] == places.output
    assert values[contract.ENV_ENVIRONMENT] == settings.workers.site


def test_the_namespace_holds_all_workers_and_no_end_of_pods(
    cloud: Synthesized, settings: Settings
) -> None:
    hard = cloud.manifest("ResourceQuota")["spec"]["hard"]
    regions = settings.workers.campaigns.regions if settings.workers.campaigns else ()
    most = settings.workers.most + len(regions)
    assert most < int(hard["pods"]) < most + 10
    assert int(hard["requests.cpu"]) >= settings.workers.most * contract.WORKER_CPUS


def test_nodes_hold_all_workers(settings: Settings) -> None:
    """Four workers fit on a node, as a test of the nodes shows."""
    assert 4 * settings.cluster.spot_nodes >= settings.workers.most


def test_nothing_comes_in_and_little_goes_out(cloud: Synthesized) -> None:
    spec = cloud.manifest("NetworkPolicy", contract.APP)["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert spec["podSelector"] == {}
    assert "ingress" not in spec
    ports = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    assert ports == {53, 80, 443}
    (web,) = [r for r in spec["egress"] if {"protocol": "TCP", "port": 443} in r["ports"]]
    assert web["to"] == [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}},
    ]
    (agent,) = [r for r in spec["egress"] if {"protocol": "TCP", "port": 80} in r["ports"]]
    assert agent["to"] == [{"ipBlock": {"cidr": "169.254.170.23/32"}}]


def test_service_accounts_have_no_token(cloud: Synthesized) -> None:
    accounts = [found for found in cloud.manifests() if found["kind"] == "ServiceAccount"]
    assert contract.SERVICE_ACCOUNT in {found["metadata"]["name"] for found in accounts}
    assert {found["automountServiceAccountToken"] for found in accounts} == {False}


def test_every_pod_has_an_account_that_has_a_role(cloud: Synthesized) -> None:
    """Namespace and name are matched by EKS alone: a slip would leave a pod without credentials."""
    accounts = {
        (found["metadata"]["namespace"], found["metadata"]["name"])
        for found in cloud.manifests()
        if found["kind"] == "ServiceAccount"
    }
    associated = {
        (found["Namespace"], found["ServiceAccount"])
        for found in cloud.properties("AWS::EKS::PodIdentityAssociation", "workers")
    }
    assert associated == accounts
    pods = {
        (document["metadata"]["namespace"], name)
        for document in cloud.manifests()
        for name in re.findall(r'"serviceAccountName": "([^"]+)"', json.dumps(document))
    }
    assert pods
    assert pods <= associated


def test_every_reference_names_something_that_exists(cloud: Synthesized) -> None:
    made_elsewhere = [("Secret", "cropmask-datacube")]  # by the operator: docs/deploy.md
    assert missing_references(cloud.manifests(), made_elsewhere) == []


def test_results_are_indexed_where_the_settings_say_so(dev: Synthesized, prod: Synthesized) -> None:
    assert [found for found in dev.manifests() if found["kind"] == "CronJob"] == []
    cron = prod.manifest("CronJob", "cropmask-indexer")
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "cropmask-indexer"
    (container,) = pod["containers"]
    (database,) = [e for e in container["env"] if e["name"] == "ODC_DEFAULT_DB_URL"]
    assert database["valueFrom"]["secretKeyRef"]["name"] == "cropmask-datacube"
    rule = prod.manifest("NetworkPolicy", "cropmask-indexer")["spec"]["egress"][0]
    assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]


def test_regions_are_mapped_by_themselves_where_the_settings_say_so(
    dev: Synthesized, prod: Synthesized
) -> None:
    def campaigns(cloud: Synthesized) -> dict[str, dict[str, Any]]:
        found = [one for one in cloud.manifests() if one["kind"] == "CronJob"]
        named = {one["metadata"]["name"]: one["spec"] for one in found}
        named.pop("cropmask-indexer", None)
        return named

    assert campaigns(dev) == {}
    settings = load_settings("prod")
    wanted = settings.workers.campaigns
    assert wanted is not None
    assert set(wanted.regions) == {file.parent.name for file in MODELS.glob("*/region.toml")}
    found = campaigns(prod)
    assert set(found) == {f"cropmask-{name.replace('_', '-')}" for name in wanted.regions}
    assert len({spec["schedule"] for spec in found.values()}) == len(wanted.regions)
    for spec in found.values():
        assert spec["concurrencyPolicy"] == "Forbid"
        pod = spec["jobTemplate"]["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == "cropmask-workflow"
        assert "nodeSelector" not in pod, "it waits for days, on the nodes of the controllers"
        (container,) = pod["containers"]
        assert container["image"] == prod.image("indexer")
        words = container["command"]
        assert {"--when-complete", "--canary=10", "--resolution=10", "--max-cost=100"} <= {*words}
        assert "--index=true" in words
        assert "--period=last" in words


def test_campaigns_may_tell_people_by_the_topic_of_the_alarms(prod: Synthesized) -> None:
    topic = prod.one("AWS::SNS::Topic")
    told = prod.manifest("ConfigMap")["data"][contract.ENV_TOPIC]
    assert told == f"arn:aws:sns:af-south-1:222222222222:{topic['TopicName']}"
    alias = prod.one("AWS::KMS::Alias", "observability")["AliasName"]
    (role,) = [r for r in prod.resources("AWS::IAM::Role") if r.id.startswith("WorkflowRole")]
    policy = role.properties["Policies"][0]["PolicyDocument"]["Statement"]
    by_name = {statement["Sid"]: statement for statement in policy}
    assert by_name["TellPeople"]["Resource"] == told
    condition = by_name["EncryptMessages"]["Condition"]
    assert condition["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": alias}
    assert condition["StringEquals"] == {"kms:ViaService": "sns.af-south-1.amazonaws.com"}


def test_workers_wait_for_their_namespace_and_role(cloud: Synthesized) -> None:
    (scaled,) = [
        resource
        for resource in cloud.resources("Custom::AWSCDK-EKS-KubernetesResource")
        if "ScaledJob" in resource.properties["Manifest"]
    ]
    needs = " ".join(scaled.whole["DependsOn"])
    assert re.search(r"\bNamespace", needs)
    assert "WorkerAssociation" in needs


def test_operators_may_work_in_the_namespace_only(cloud: Synthesized) -> None:
    entry = cloud.one("AWS::EKS::AccessEntry", "workers")
    (policy,) = entry["AccessPolicies"]
    assert policy["AccessScope"] == {"Type": "namespace", "Namespaces": [contract.NAMESPACE]}
