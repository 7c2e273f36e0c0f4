from __future__ import annotations

from cropmask import contract
from infra.places import Places
from infra.settings import Settings
from infra.tests.synthesized import Synthesized, statements


def test_every_bucket_is_closed_encrypted_and_owned(cloud: Synthesized) -> None:
    buckets = cloud.properties("AWS::S3::Bucket")
    assert len(buckets) == 3
    for bucket in buckets:
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_every_bucket_and_queue_refuses_plain_http(cloud: Synthesized) -> None:
    policies = [
        *cloud.properties("AWS::S3::BucketPolicy"),
        *cloud.properties("AWS::SQS::QueuePolicy"),
    ]
    assert len(policies) == 5
    for policy in policies:
        assert any(
            statement["Effect"] == "Deny"
            and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
            and statement["Principal"] == {"AWS": "*"}
            for statement in statements(policy["PolicyDocument"])
        )


def test_results_and_models_keep_what_was_replaced(cloud: Synthesized, settings: Settings) -> None:
    for end in ("results", "models"):
        bucket = cloud.named("AWS::S3::Bucket", "BucketName", f"{end}-{settings.account}")
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert bucket["LoggingConfiguration"]["LogFilePrefix"] == f"{end}/"
        rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
        days = rules["replaced"]["NoncurrentVersionExpiration"]["NoncurrentDays"]
        assert days == settings.data.replaced_days
        assert rules["unfinished"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}
        # Nothing ever deletes a result that is current.
        assert all("ExpirationInDays" not in rule for rule in rules.values())


def test_access_logs_expire(cloud: Synthesized, settings: Settings) -> None:
    bucket = cloud.named("AWS::S3::Bucket", "BucketName", f"logs-{settings.account}")
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == settings.data.log_days


def test_buckets_of_prod_outlive_their_stack(dev: Synthesized, prod: Synthesized) -> None:
    for cloud, policy in ((dev, "Delete"), (prod, "Retain")):
        kept = {
            resource.whole["DeletionPolicy"]
            for type_ in ("AWS::S3::Bucket", "AWS::SQS::Queue")
            for resource in cloud.resources(type_)
        }
        assert kept == {policy}


def test_the_queue_is_what_the_workers_expect(cloud: Synthesized, settings: Settings) -> None:
    places = Places(settings)
    tasks = cloud.named("AWS::SQS::Queue", "QueueName", "tasks")
    assert tasks["QueueName"] == places.tasks.name
    assert tasks["VisibilityTimeout"] == contract.LEASE_SECONDS
    assert tasks["ReceiveMessageWaitTimeSeconds"] == contract.POLL_SECONDS
    assert tasks["RedrivePolicy"]["maxReceiveCount"] == contract.MAX_RECEIVES >= 5
    assert tasks["SqsManagedSseEnabled"] is True


def test_dead_letters_are_kept_longer_and_come_from_our_queue_only(
    cloud: Synthesized, settings: Settings
) -> None:
    tasks = cloud.named("AWS::SQS::Queue", "QueueName", "tasks")
    dead = cloud.named("AWS::SQS::Queue", "QueueName", "dead-letters")
    assert dead["MessageRetentionPeriod"] == 14 * 86_400 > tasks["MessageRetentionPeriod"]
    assert dead["SqsManagedSseEnabled"] is True
    assert dead["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [Places(settings).tasks.arn],
    }


def test_results_are_public_in_prod_only_and_through_the_distribution(
    dev: Synthesized, prod: Synthesized
) -> None:
    assert dev.resources("AWS::CloudFront::Distribution") == []
    config = prod.one("AWS::CloudFront::Distribution")["DistributionConfig"]
    behavior = config["DefaultCacheBehavior"]
    assert behavior["ViewerProtocolPolicy"] == "redirect-to-https"
    assert set(behavior["AllowedMethods"]) == {"GET", "HEAD", "OPTIONS"}
    assert config["Origins"][0]["OriginAccessControlId"]


def test_the_public_reads_results_but_not_runs(prod: Synthesized) -> None:
    policies = prod.properties("AWS::S3::BucketPolicy")
    given = [
        statement
        for policy in policies
        for statement in statements(policy["PolicyDocument"])
        if statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    ]
    allow, deny = sorted(given, key=lambda statement: str(statement["Effect"]))
    assert (allow["Effect"], allow["Action"]) == ("Allow", ["s3:GetObject"])
    assert "AWS:SourceArn" in allow["Condition"]["StringEquals"]
    assert deny["Effect"] == "Deny"
    assert deny["Resource"][0]["Fn::Join"][1][-1] == f"/crop_mask/{contract.RUNS}/*"


def test_outputs_are_the_variables_of_the_operators(cloud: Synthesized, settings: Settings) -> None:
    outputs = cloud.templates["data"]["Outputs"].values()
    said = {output["Description"]: output["Value"] for output in outputs}
    assert said[contract.ENV_OUTPUT] == Places(settings).output
    assert {contract.ENV_QUEUE, contract.ENV_DEAD_LETTERS} <= set(said)
