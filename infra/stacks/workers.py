"""The workers: their namespace, their roles, and what starts them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

from cropmask import contract
from cropmask.kube import namespace as ns
from cropmask.kube.index import INDEX_COMMAND, make_database_policy, make_index_cron_job
from cropmask.kube.scaled import make_scaled_job
from cropmask.kube.workermanifests import WorkerPod, make_labels
from cropmask.kube.workflow import WORKFLOW, make_campaign_cron_job, make_parameters
from infra import policies
from infra.documents import apply_documents, as_cluster
from infra.naming import CropmaskStack, acknowledge, wildcard
from infra.pod_identity import PodRole
from infra.settings import Campaigns, Index, Settings
from infra.stacks.cluster import ClusterStack
from infra.stacks.images import find_image
from infra.variables import operator_variables


class WorkersStack(CropmaskStack):
    """Everything of ours in the cluster; a change of the image is a change of this stack only."""

    def __init__(self, scope: Construct, settings: Settings, cluster: ClusterStack) -> None:
        super().__init__(scope, settings, "workers", "namespace, roles and workers")
        self._cluster = as_cluster(cluster.cluster)
        self._images: dict[str, str] = {}
        self._namespace = self._apply("Namespace", ns.make_namespace())
        self._apply(
            "Limits",
            ns.make_quota(settings.workers.most + self._count_campaigns()),
            ns.make_limit_range(),
            ns.make_network_policy(),
        )
        self._apply("Settings", ns.make_config_map(self._variables()))
        worker_role = self._pod_role("Worker", contract.SERVICE_ACCOUNT, self._worker_statements())
        reason = "Workers write tiles whose names nobody knows before."
        self._explain_objects(worker_role, reason, models=False)
        acknowledge(
            worker_role,
            "PutMetricData knows no resources; a condition names the only namespace.",
            wildcard("*"),
        )
        scaled = self._apply("Workers", self._scaled_job())
        scaled.node.add_dependency(worker_role)
        if settings.workers.index is not None:
            self._index(settings.workers.index)
        if settings.workers.workflows or settings.workers.campaigns:
            workflow_role = self._workflow_role()
            if settings.workers.campaigns is not None:
                self._campaigns(settings.workers.campaigns).node.add_dependency(workflow_role)
        self._operator_role()

    def _apply(self, id: str, *documents: dict[str, Any]) -> eks.KubernetesManifest:  # noqa: A002
        manifest = apply_documents(self, id, self._cluster, *documents)
        if id != "Namespace":
            manifest.node.add_dependency(self._namespace)
        return manifest

    def _variables(self) -> dict[str, str]:
        return {
            **operator_variables(self.settings),
            contract.ENV_METRICS: contract.METRICS_NAMESPACE,
            contract.ENV_TOPIC: self.places.alarm_topic,
            contract.ENV_MAX_MINUTES: str(self.settings.workers.max_minutes),
            contract.ENV_IDLE_EXIT: str(contract.LEASE_SECONDS),
        }

    def _worker(self, image: str) -> WorkerPod:
        return WorkerPod(
            image,
            config_map=ns.CONFIG_MAP,
            labels=make_labels(environment=self.settings.name),
        )

    def _image(self, stage: str, named: str | None) -> str:
        if stage not in self._images:  # each is built once
            architecture = self.settings.cluster.architecture
            self._images[stage] = find_image(self, stage, named, architecture)
        return self._images[stage]

    def _scaled_job(self) -> dict[str, Any]:
        workers = self.settings.workers
        return make_scaled_job(
            self._worker(self._image("worker", workers.image)),
            queue=self.places.tasks.url,
            aws_region=self.settings.region,
            most=workers.most,
            max_minutes=workers.max_minutes,
        )

    def _pod_role(self, name: str, account: str, statements: list[iam.PolicyStatement]) -> PodRole:
        self._apply(f"{name}Account", ns.make_service_account(account))
        return PodRole(
            self,
            name,
            cluster_name=self._cluster.cluster_name,
            namespace=contract.NAMESPACE,
            service_account=account,
            statements=statements,
        )

    def _explain_objects(self, role: IConstruct, reason: str, *, models: bool = True) -> None:
        """Acknowledge that a role reaches all objects of a bucket, or below a prefix."""
        acknowledge(role, reason, wildcard(self.places.results.objects(self.places.results_prefix)))
        if models:
            acknowledge(role, reason, wildcard(self.places.models.objects()))

    def _worker_statements(self) -> list[iam.PolicyStatement]:
        return [
            *policies.take_tasks(self.places),
            *policies.write_results(self.places),
            policies.put_metrics(),
        ]

    def _index(self, index: Index) -> None:
        prefix = self.places.results_prefix
        statements = policies.read_objects("Results", self.places.results, prefix)
        role = self._pod_role("Indexer", ns.INDEXER, statements)
        cron = make_index_cron_job(
            self._worker(self._image("indexer", index.image)), INDEX_COMMAND, index.schedule
        )
        self._explain_objects(role, "Reads results, all of them.", models=False)
        job = self._apply("Index", cron, make_database_policy(index.database))
        job.node.add_dependency(role)

    def _count_campaigns(self) -> int:
        campaigns = self.settings.workers.campaigns
        return len(campaigns.regions) if campaigns else 0

    def _campaigns(self, campaigns: Campaigns) -> eks.KubernetesManifest:
        """A schedule for each region; the workers of the queue do the computing."""
        index = self.settings.workers.index
        image = (
            self._image("worker", self.settings.workers.image)
            if index is None
            else self._image("indexer", index.image)
        )
        pod = replace(self._worker(image), any_node=True)
        changes = {
            "resolution": str(campaigns.resolution),
            "canary": str(campaigns.canary),
            "missing": str(campaigns.missing),
            "max-cost": str(campaigns.max_cost),
            "index": "false" if index is None else "true",
        }
        return self._apply(
            "Campaigns",
            *(
                make_campaign_cron_job(
                    pod, make_parameters(region, changes), f"{7 * at} {campaigns.hour} * * *"
                )
                for at, region in enumerate(campaigns.regions)
            ),
        )

    def _workflow_role(self) -> PodRole:
        """What steps of a workflow use; the workers of the queue do the computing."""
        statements = [
            policies.send_tasks(self.places),
            policies.count_dead_letters(self.places),
            *policies.write_results(self.places),
            *policies.tell_people(self.places),
        ]
        role = self._pod_role("Workflow", WORKFLOW, statements)
        self._explain_objects(
            role, "Steps write runs and the catalog beside results.", models=False
        )
        acknowledge(
            role,
            "The name of a key is known after it was made; conditions name its alias and SNS.",
            wildcard(self.places.arn("kms", "key/*")),
        )
        return role

    def _operator_role(self) -> None:
        """What people use: send, watch, redrive; and Jobs of their own in the namespace."""
        people: list[iam.PrincipalBase] = [
            iam.ArnPrincipal(arn) for arn in self.settings.workers.operators
        ] or [iam.AccountPrincipal(self.settings.account)]
        role = iam.Role(
            self,
            "Operator",
            role_name=f"{self.places.cluster}-operator",
            assumed_by=iam.CompositePrincipal(*people),
            description="Send tasks, look at them, redrive; results and models",
            inline_policies={
                "operator": iam.PolicyDocument(
                    statements=[
                        policies.send_tasks(self.places),
                        policies.drop_tasks(self.places),
                        policies.redrive(self.places),
                        *policies.write_results(self.places),
                        *policies.bring_back_results(self.places),
                        *policies.write_models(self.places),
                        *policies.watch(self.places),
                        policies.describe_cluster(self.places),
                    ]
                )
            },
        )
        self._explain_objects(role, "Operators copy and delete results, and put models.")
        acknowledge(
            role, "Metrics, alarms and lists of CloudWatch know no resources.", wildcard("*")
        )
        acknowledge(role, "The logs of this cluster, by kind.", wildcard(self.places.cluster_logs))
        eks.AccessEntry(
            self,
            "OperatorAccess",
            cluster=self._cluster,
            principal=role.role_arn,
            access_policies=[
                eks.AccessPolicy.from_access_policy_name(
                    "AmazonEKSEditPolicy",
                    access_scope_type=eks.AccessScopeType.NAMESPACE,
                    namespaces=[contract.NAMESPACE],
                )
            ],
        )
        self.say("OperatorRole", "role of operators", role.role_arn)
