resource "google_service_account" "collector" {
  account_id   = var.name
  display_name = "Depth collector"
  depends_on   = [google_project_service.this]
}

# The collector needs no more: write its log and metrics, pull its image, read and write rows. It makes no tables.
resource "google_project_iam_member" "collector" {
  for_each = toset(["roles/logging.logWriter", "roles/monitoring.metricWriter"])

  project = var.project_id
  role    = each.value
  member  = google_service_account.collector.member
}

resource "google_artifact_registry_repository_iam_member" "collector" {
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.collector.member
}

resource "google_bigtable_instance_iam_member" "collector" {
  count = local.bigtable

  instance = google_bigtable_instance.this[0].name
  role     = "roles/bigtable.user"
  member   = google_service_account.collector.member
}
