output "repository" {
  description = "Where infra/gcloud/deploy.sh pushes images."
  value       = local.repository
}

output "instance" {
  description = "Name of the machine, for infra/gcloud/restart.sh."
  value       = google_compute_instance.collector.name
}

output "service_account" {
  description = "What the collector may do is granted to this account."
  value       = google_service_account.collector.email
}
