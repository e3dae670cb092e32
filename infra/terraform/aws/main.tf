locals {
  registry = split("/", aws_ecr_repository.collector.repository_url)[0]
  image    = "${aws_ecr_repository.collector.repository_url}:${var.image_tag}"
  environment = merge({
    DB_BACKEND         = "s3"
    S3_BUCKET          = aws_s3_bucket.data.id
    S3_REGION          = var.region
    COLLECTOR_DATA_DIR = "/data"
  }, var.settings)
}

# The current image of Amazon Linux, as AWS publishes it.
data "aws_ssm_parameter" "machine_image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

# Journal and spool outlive the instance.
resource "aws_ebs_volume" "data" {
  #checkov:skip=CKV_AWS_189: encrypted with AWS's own keys
  #checkov:skip=CKV2_AWS_2: it is encrypted
  availability_zone = aws_subnet.public.availability_zone
  size              = var.data_gb
  type              = "gp3"
  encrypted         = true

  tags = { Name = "${var.name}-data" }
}

resource "aws_instance" "collector" {
  #checkov:skip=CKV_AWS_126: metrics each minute cost more than the machine; the collector has its own
  ami                         = data.aws_ssm_parameter.machine_image.insecure_value
  instance_type               = var.instance_type
  subnet_id                   = aws_subnet.public.id
  vpc_security_group_ids      = [aws_security_group.collector.id]
  iam_instance_profile        = aws_iam_instance_profile.collector.name
  key_name                    = var.ssh_key_name
  ebs_optimized               = true
  user_data_replace_on_change = true
  user_data = templatefile("${path.module}/../../cloud-init/aws.yaml", {
    image       = local.image
    registry    = local.registry
    region      = var.region
    volume_id   = aws_ebs_volume.data.id
    log_group   = aws_cloudwatch_log_group.collector.name
    environment = join("\n      ", [for key, value in local.environment : "${key}=${value}"])
  })

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
    # Two: the container is one hop further away than the machine.
    http_put_response_hop_limit = 2
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 10
    encrypted   = true
  }

  credit_specification {
    # Standard never costs more than the machine; the collector stays far below the share that is always there.
    cpu_credits = "standard"
  }

  tags = { Name = var.name }

  lifecycle {
    # A newer machine image is no reason to replace a running collector.
    ignore_changes = [ami]
  }
}

resource "aws_volume_attachment" "data" {
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data.id
  instance_id = aws_instance.collector.id
  # Stopping first lets the collector drain before its disk goes.
  stop_instance_before_detaching = true
}
