output "bucket" {
  description = "Where the tables are."
  value       = aws_s3_bucket.data.id
}

output "repository" {
  description = "Where infra/aws/deploy.sh pushes images."
  value       = aws_ecr_repository.collector.repository_url
}

output "instance" {
  description = "For infra/aws/restart.sh, and `aws ssm start-session --target`."
  value       = aws_instance.collector.id
}

output "log_group" {
  description = "For `aws logs tail --follow`."
  value       = aws_cloudwatch_log_group.collector.name
}
