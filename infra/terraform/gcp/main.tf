locals {
  registry   = "${var.region}-docker.pkg.dev"
  repository = "${local.registry}/${var.project_id}/${var.name}"
  image      = "${local.repository}/collector:${var.image_tag}"
  bigtable   = var.backend == "bigtable" ? 1 : 0
  environment = merge(
    { DB_BACKEND = var.backend, COLLECTOR_DATA_DIR = "/data" },
    var.backend == "bigtable" ? { BIGTABLE_PROJECT_ID = var.project_id, BIGTABLE_INSTANCE_ID = var.name } : {},
    var.settings,
  )
  services = concat(
    [
      "compute.googleapis.com", "artifactregistry.googleapis.com", "iam.googleapis.com", "logging.googleapis.com",
      "monitoring.googleapis.com", "storage.googleapis.com",
    ],
    var.backend == "bigtable" ? ["bigtable.googleapis.com", "bigtableadmin.googleapis.com"] : [],
    var.training == null ? [] : ["run.googleapis.com", "cloudscheduler.googleapis.com"],
  )
}

resource "google_project_service" "this" {
  for_each = toset(local.services)

  service            = each.value
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "this" {
  #checkov:skip=CKV_GCP_84: encrypted with Google's own keys
  location      = var.region
  repository_id = var.name
  format        = "DOCKER"
  depends_on    = [google_project_service.this]

  cleanup_policies {
    id     = "the-last-ten"
    action = "KEEP"

    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "older-ones"
    action = "DELETE"

    condition {
      older_than = "2592000s"
    }
  }
}

# A network of its own. Without a rule that allows it, nothing comes in.
resource "google_compute_network" "this" {
  #checkov:skip=CKV2_GCP_18: nothing may come in, so there is no rule to attach
  name                    = var.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.this]
}

resource "google_compute_subnetwork" "this" {
  #checkov:skip=CKV_GCP_26: one machine that no port leads to; flow logs would cost more than it does
  #checkov:skip=CKV_GCP_76: IPv4 only
  name                     = var.name
  region                   = var.region
  network                  = google_compute_network.this.id
  ip_cidr_range            = "10.40.0.0/24"
  private_ip_google_access = true
}

resource "google_compute_firewall" "iap" {
  count = var.ssh_through_iap ? 1 : 0

  name          = "${var.name}-ssh-through-iap"
  network       = google_compute_network.this.id
  source_ranges = ["35.235.240.0/20"]
  target_tags   = [var.name]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}

# Journal and spool outlive the machine.
resource "google_compute_disk" "data" {
  #checkov:skip=CKV_GCP_37: encrypted with Google's own keys
  name       = "${var.name}-data"
  zone       = var.zone
  type       = "pd-standard"
  size       = var.data_gb
  depends_on = [google_project_service.this]
}

resource "google_compute_instance" "collector" {
  #checkov:skip=CKV_GCP_38: encrypted with Google's own keys
  #checkov:skip=CKV_GCP_40: a public address costs less than Cloud NAT, and no port is open on it
  name         = var.name
  zone         = var.zone
  machine_type = var.machine_type
  tags         = [var.name]

  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      # A family: the current image of Container-Optimized OS.
      image = "cos-cloud/cos-stable"
      size  = 10
      type  = "pd-standard"
    }
  }

  attached_disk {
    source      = google_compute_disk.data.id
    device_name = "collector-data"
  }

  network_interface {
    subnetwork = google_compute_subnetwork.this.id

    access_config {
      network_tier = "STANDARD"
    }
  }

  service_account {
    email = google_service_account.collector.email
    # What it may do is said by roles.
    scopes = ["cloud-platform"]
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    google-logging-enabled    = "true"
    google-monitoring-enabled = "true"
    block-project-ssh-keys    = "true"
    enable-oslogin            = "true"
    user-data = templatefile("${path.module}/../../cloud-init/gcp.yaml", {
      image       = local.image
      registry    = local.registry
      environment = join("\n      ", [for key, value in local.environment : "${key}=${value}"])
    })
  }

  depends_on = [
    google_project_iam_member.collector,
    google_artifact_registry_repository_iam_member.collector,
    google_bigtable_instance_iam_member.collector,
  ]

  lifecycle {
    # A newer machine image is no reason to replace a running collector.
    ignore_changes = [boot_disk[0].initialize_params[0].image]
  }
}
