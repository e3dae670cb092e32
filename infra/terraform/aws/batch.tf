# Export and train on a schedule, from the bucket and back into it. Only with `training`.
locals {
  batch = var.training == null ? 0 : 1
}

data "aws_iam_policy_document" "batch_tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "training" {
  statement {
    sid       = "Read"
    actions   = ["s3:ListBucket", "s3:GetObject"]
    resources = [aws_s3_bucket.data.arn, "${aws_s3_bucket.data.arn}/*"]
  }

  statement {
    sid       = "WriteModels"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.data.arn}/models/*"]
  }
}

resource "aws_iam_role" "training" {
  count = local.batch

  name               = "${var.name}-training"
  assume_role_policy = data.aws_iam_policy_document.batch_tasks.json
}

resource "aws_iam_role_policy" "training" {
  count = local.batch

  name   = "training"
  role   = aws_iam_role.training[0].id
  policy = data.aws_iam_policy_document.training.json
}

resource "aws_iam_role" "batch_execution" {
  count = local.batch

  name               = "${var.name}-batch-execution"
  assume_role_policy = data.aws_iam_policy_document.batch_tasks.json
}

resource "aws_iam_role_policy_attachment" "batch_execution" {
  count = local.batch

  role       = aws_iam_role.batch_execution[0].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy_document" "batch_service" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["batch.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "batch_service" {
  count = local.batch

  name               = "${var.name}-batch-service"
  assume_role_policy = data.aws_iam_policy_document.batch_service.json
}

resource "aws_iam_role_policy_attachment" "batch_service" {
  count = local.batch

  role       = aws_iam_role.batch_service[0].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"
}

resource "aws_batch_compute_environment" "training" {
  count = local.batch

  compute_environment_name = "${var.name}-training"
  type                     = "MANAGED"
  service_role             = aws_iam_role.batch_service[0].arn
  # Without its rights the service could not take down what it has put up.
  depends_on = [aws_iam_role_policy_attachment.batch_service]

  compute_resources {
    type               = "FARGATE_SPOT"
    max_vcpus          = 16
    subnets            = [aws_subnet.public.id]
    security_group_ids = [aws_security_group.collector.id]
  }
}

resource "aws_batch_job_queue" "training" {
  count = local.batch

  name     = "${var.name}-training"
  state    = "ENABLED"
  priority = 1

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.training[0].arn
  }
}

resource "aws_batch_job_definition" "training" {
  count = local.batch

  name                  = "${var.name}-training"
  type                  = "container"
  platform_capabilities = ["FARGATE"]

  retry_strategy {
    attempts = 2
  }

  timeout {
    attempt_duration_seconds = 6 * 3600
  }

  container_properties = jsonencode({
    image            = "${aws_ecr_repository.collector.repository_url}:training"
    command          = ["/app/export_and_train.sh"]
    jobRoleArn       = aws_iam_role.training[0].arn
    executionRoleArn = aws_iam_role.batch_execution[0].arn
    environment = [for key, value in {
      DB_BACKEND  = "s3"
      S3_BUCKET   = aws_s3_bucket.data.id
      S3_REGION   = var.region
      JOB_SYMBOL  = var.training.symbol
      JOB_DAYS    = tostring(var.training.days)
      JOB_RESULTS = "s3://${aws_s3_bucket.data.id}/models"
    } : { name = key, value = value }]
    resourceRequirements = [
      { type = "VCPU", value = tostring(var.training.vcpus) },
      { type = "MEMORY", value = tostring(var.training.memory) },
    ]
    networkConfiguration = { assignPublicIp = "ENABLED" }
    ephemeralStorage     = { sizeInGiB = 50 }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.collector.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "training"
      }
    }
  })
}

data "aws_iam_policy_document" "schedule_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "schedule" {
  count = local.batch

  statement {
    actions   = ["batch:SubmitJob"]
    resources = [aws_batch_job_queue.training[0].arn, "${aws_batch_job_definition.training[0].arn_prefix}:*"]
  }
}

resource "aws_iam_role" "schedule" {
  count = local.batch

  name               = "${var.name}-schedule"
  assume_role_policy = data.aws_iam_policy_document.schedule_trust.json
}

resource "aws_iam_role_policy" "schedule" {
  count = local.batch

  name   = "submit"
  role   = aws_iam_role.schedule[0].id
  policy = data.aws_iam_policy_document.schedule[0].json
}

resource "aws_cloudwatch_event_rule" "training" {
  count = local.batch

  name                = "${var.name}-training"
  schedule_expression = var.training.schedule
}

resource "aws_cloudwatch_event_target" "training" {
  count = local.batch

  rule     = aws_cloudwatch_event_rule.training[0].name
  arn      = aws_batch_job_queue.training[0].arn
  role_arn = aws_iam_role.schedule[0].arn

  batch_target {
    job_definition = aws_batch_job_definition.training[0].arn
    job_name       = "${var.name}-training"
  }
}
