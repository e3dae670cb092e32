# Export and train on a schedule, from Bigtable into a bucket. Only with `training`.
locals {
  batch = var.training == null ? 0 : 1
}

resource "google_storage_bucket" "models" {
  #checkov:skip=CKV_GCP_62: one writer; access logs would be as many objects again
  count = local.batch

  name                        = "${var.project_id}-${var.name}-models"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  depends_on                  = [google_project_service.this]

  versioning {
    enabled = true
  }
}

resource "google_service_account" "training" {
  count = local.batch

  account_id   = "${var.name}-train"
  display_name = "Depth collector: training"
  depends_on   = [google_project_service.this]
}

resource "google_bigtable_instance_iam_member" "training" {
  # Without an instance, the job's precondition says what is wrong.
  count = local.batch * local.bigtable

  instance = google_bigtable_instance.this[0].name
  role     = "roles/bigtable.reader"
  member   = google_service_account.training[0].member
}

resource "google_storage_bucket_iam_member" "training" {
  count = local.batch

  bucket = google_storage_bucket.models[0].name
  role   = "roles/storage.objectUser"
  member = google_service_account.training[0].member
}

resource "google_cloud_run_v2_job" "training" {
  count = local.batch

  name                = "${var.name}-training"
  location            = var.region
  deletion_protection = false

  template {
    template {
      service_account = google_service_account.training[0].email
      timeout         = "21600s"
      max_retries     = 1

      containers {
        image   = "${local.repository}/training:${var.image_tag}"
        command = ["/app/export_and_train.sh"]

        resources {
          limits = {
            cpu    = var.training.cpu
            memory = var.training.memory
          }
        }

        dynamic "env" {
          for_each = {
            DB_BACKEND           = "bigtable"
            BIGTABLE_PROJECT_ID  = var.project_id
            BIGTABLE_INSTANCE_ID = var.name
            JOB_SYMBOL           = var.training.symbol
            JOB_DAYS             = tostring(var.training.days)
            JOB_RESULTS          = "/results"
          }

          content {
            name  = env.key
            value = env.value
          }
        }

        volume_mounts {
          name       = "results"
          mount_path = "/results"
        }
      }

      volumes {
        name = "results"

        gcs {
          bucket    = google_storage_bucket.models[0].name
          read_only = false
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = var.backend == "bigtable"
      error_message = "training: a job elsewhere can only read backend bigtable; with local, run it by cron on a machine of yours."
    }
  }
}

resource "google_service_account" "schedule" {
  count = local.batch

  account_id   = "${var.name}-cron"
  display_name = "Depth collector: starts the training"
  depends_on   = [google_project_service.this]
}

resource "google_cloud_run_v2_job_iam_member" "schedule" {
  count = local.batch

  name     = google_cloud_run_v2_job.training[0].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.schedule[0].member
}

resource "google_cloud_scheduler_job" "training" {
  count = local.batch

  name      = "${var.name}-training"
  region    = var.region
  schedule  = var.training.schedule
  time_zone = "Etc/UTC"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.training[0].id}:run"

    oauth_token {
      service_account_email = google_service_account.schedule[0].email
    }
  }
}
