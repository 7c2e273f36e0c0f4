"""What outlives a worker: results, models, access logs, tasks and dead letters."""

from __future__ import annotations

from typing import cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cropmask import contract
from cropmask.product import FAMILY
from infra.naming import CropmaskStack, acknowledge
from infra.places import BucketPlace
from infra.settings import Settings
from infra.stacks.images import IMAGES


class DataStack(CropmaskStack):
    """Buckets, queues, and a way for the public to read results."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, settings, "data", "buckets and queues")
        self._removal = RemovalPolicy.RETAIN if settings.data.keep else RemovalPolicy.DESTROY
        self.logs = self._log_bucket()
        self.results = self._bucket(
            "Results", self.places.results, cors=settings.data.public_results
        )
        self.models = self._bucket("Models", self.places.models)
        self.dead_letters = self._dead_letter_queue()
        self.queue = self._task_queue()
        for image in IMAGES:
            self._repository(image)
        if settings.images.scan:
            self._scan_images()
        self.say("Queue", contract.ENV_QUEUE, self.queue.queue_url)
        self.say("DeadLetters", contract.ENV_DEAD_LETTERS, self.dead_letters.queue_url)
        self.say("Output", contract.ENV_OUTPUT, self.places.output)
        self.say("ModelBucket", "bucket of models", f"s3://{self.places.models.name}")
        if settings.data.public_results:
            self._publish_results()

    def _log_bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Logs",
            bucket_name=self.places.logs.name,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            removal_policy=self._removal,
            lifecycle_rules=[
                s3.LifecycleRule(id="expire", expiration=Duration.days(self.settings.data.log_days))
            ],
        )
        acknowledge(
            bucket, "A bucket of access logs that logged itself would never be quiet.", "S1"
        )
        return bucket

    def _bucket(self, name: str, place: BucketPlace, *, cors: bool = False) -> s3.Bucket:
        replaced = Duration.days(self.settings.data.replaced_days)
        return s3.Bucket(
            self,
            name,
            bucket_name=place.name,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            removal_policy=self._removal,
            server_access_logs_bucket=self.logs,
            server_access_logs_prefix=f"{name.lower()}/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="replaced",
                    noncurrent_version_expiration=replaced,
                    expired_object_delete_marker=True,
                ),
                s3.LifecycleRule(
                    id="unfinished", abort_incomplete_multipart_upload_after=Duration.days(3)
                ),
            ],
            cors=[
                s3.CorsRule(
                    allowed_methods=[s3.HttpMethods.GET, s3.HttpMethods.HEAD],
                    allowed_origins=["*"],
                    allowed_headers=["Range"],
                    exposed_headers=["Content-Range", "Content-Length", "ETag"],
                )
            ]
            if cors
            else None,
        )

    def _dead_letter_queue(self) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetterQueue",
            queue_name=self.places.dead_letters.name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=self._removal,
        )
        # By name: a reference would go around in a circle.
        cfn = cast("sqs.CfnQueue", queue.node.default_child)
        cfn.redrive_allow_policy = {
            "redrivePermission": "byQueue",
            "sourceQueueArns": [self.places.tasks.arn],
        }
        return queue

    def _task_queue(self) -> sqs.Queue:
        return sqs.Queue(
            self,
            "Tasks",
            queue_name=self.places.tasks.name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(contract.LEASE_SECONDS),
            receive_message_wait_time=Duration.seconds(contract.POLL_SECONDS),
            # A dead letter keeps the age it had: shorter than the dead letters' own 14 days.
            retention_period=Duration.days(7),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letters, max_receive_count=contract.MAX_RECEIVES
            ),
            removal_policy=self._removal,
        )

    def _repository(self, image: str) -> None:
        """Where images stay: what another environment runs too, or a workflow has pushed."""
        images = self.settings.images
        repository = ecr.Repository(
            self,
            f"{image.capitalize()}Images",
            repository_name=self.places.repository(image),
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            encryption=ecr.RepositoryEncryption.AES_256,
            removal_policy=self._removal,
            empty_on_delete=not self.settings.data.keep,
            lifecycle_rules=[
                ecr.LifecycleRule(
                    rule_priority=1,
                    description="parts of images that were replaced",
                    tag_status=ecr.TagStatus.UNTAGGED,
                    max_image_age=Duration.days(14),
                ),
                ecr.LifecycleRule(
                    rule_priority=2,
                    description="old images",
                    tag_status=ecr.TagStatus.ANY,
                    max_image_count=images.keep,
                ),
            ],
        )
        if images.readers:
            repository.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="OtherEnvironmentsPull",
                    principals=[iam.AccountPrincipal(account) for account in images.readers],
                    actions=[
                        "ecr:BatchCheckLayerAvailability",
                        "ecr:BatchGetImage",
                        "ecr:GetDownloadUrlForLayer",
                    ],
                )
            )
        self.say(
            f"{image.capitalize()}Repository", f"repository of {image}", repository.repository_uri
        )

    def _scan_images(self) -> None:
        """Also those built at deployment, which go to the repository of ``cdk bootstrap``."""
        rule = ecr.CfnRegistryScanningConfiguration.ScanningRuleProperty(
            scan_frequency="SCAN_ON_PUSH",
            repository_filters=[
                ecr.CfnRegistryScanningConfiguration.RepositoryFilterProperty(
                    filter=name, filter_type="WILDCARD"
                )
                for name in ("cdk-*-container-assets-*", f"{contract.APP}-*")
            ],
        )
        ecr.CfnRegistryScanningConfiguration(self, "Scan", scan_type="BASIC", rules=[rule])

    def _publish_results(self) -> None:
        """Everybody may read results through the distribution, and only through it."""
        site = cloudfront.Distribution(
            self,
            "Public",
            comment=f"{contract.APP} {self.settings.name}: results, read only",
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(self.results),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                allowed_methods=cloudfront.AllowedMethods.ALLOW_GET_HEAD_OPTIONS,
                # Already compressed; and a compressed answer would lose its ranges.
                compress=False,
                response_headers_policy=(
                    cloudfront.ResponseHeadersPolicy.CORS_ALLOW_ALL_ORIGINS_WITH_PREFLIGHT
                ),
            ),
        )
        self.results.add_to_resource_policy(
            iam.PolicyStatement(
                sid="RunsStayInside",
                effect=iam.Effect.DENY,
                principals=[iam.ServicePrincipal("cloudfront.amazonaws.com")],
                actions=["s3:GetObject"],
                resources=[self.results.arn_for_objects(f"{FAMILY}/{contract.RUNS}/*")],
            )
        )
        acknowledge(site, "The maps are for everybody, in every country.", "CFR1")
        acknowledge(
            site,
            "Static files, read only: there is no request that a firewall could refuse usefully.",
            "CFR2",
        )
        acknowledge(
            site,
            "Who reads a public map is not recorded; what reaches the bucket is in its access log.",
            "CFR3",
        )
        acknowledge(
            site,
            "CloudFront's own domain takes no other policy; it comes with a certificate of one's "
            "own domain.",
            "CFR4",
        )
        self.say("PublicResults", "address of the results", f"https://{site.domain_name}/{FAMILY}")
