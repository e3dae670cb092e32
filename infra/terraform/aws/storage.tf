data "aws_caller_identity" "this" {}

resource "aws_s3_bucket" "data" {
  #checkov:skip=CKV_AWS_145: encrypted with S3's own keys; a key of KMS would cost more than the data
  #checkov:skip=CKV_AWS_144: one region; copies elsewhere are the user's choice
  #checkov:skip=CKV_AWS_18: one writer; access logs would be as many objects again
  #checkov:skip=CKV2_AWS_62: nobody listens for events
  bucket = "${var.name}-${data.aws_caller_identity.this.account_id}-${var.region}"
}

resource "aws_s3_bucket_public_access_block" "data" {
  bucket                  = aws_s3_bucket.data.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "data" {
  bucket = aws_s3_bucket.data.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "data" {
  bucket = aws_s3_bucket.data.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "data" {
  bucket     = aws_s3_bucket.data.id
  depends_on = [aws_s3_bucket_versioning.data]

  rule {
    id     = "unfinished uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  rule {
    id     = "cheaper when old"
    status = "Enabled"

    filter {}

    transition {
      days          = var.keep_days
      storage_class = "STANDARD_IA"
    }

    # Merging days replaces files: what was replaced goes after a week.
    noncurrent_version_expiration {
      noncurrent_days = 7
    }
  }
}

data "aws_iam_policy_document" "tls" {
  statement {
    sid       = "OnlyEncrypted"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.data.arn, "${aws_s3_bucket.data.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "data" {
  bucket     = aws_s3_bucket.data.id
  policy     = data.aws_iam_policy_document.tls.json
  depends_on = [aws_s3_bucket_public_access_block.data]
}

resource "aws_ecr_repository" "collector" {
  #checkov:skip=CKV_AWS_136: encrypted with AWS's own keys
  #checkov:skip=CKV_AWS_51: the tag `live` moves on purpose; every image also has a tag of its own that does not
  name                 = var.name
  image_tag_mutability = "MUTABLE"
  force_delete         = true

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "collector" {
  repository = aws_ecr_repository.collector.name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        # What one rule keeps, no later one expires.
        description = "That of the nightly job stays"
        selection = {
          tagStatus = "tagged", tagPrefixList = ["training"], countType = "imageCountMoreThan", countNumber = 1
        }
        action = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "The last ten"
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
        action       = { type = "expire" }
      },
    ]
  })
}

resource "aws_cloudwatch_log_group" "collector" {
  #checkov:skip=CKV_AWS_158: encrypted with AWS's own keys; the log holds prices and no secrets
  #checkov:skip=CKV_AWS_338: a month of lines is enough; what counts is in the tables
  name              = "/${var.name}"
  retention_in_days = 30
}
