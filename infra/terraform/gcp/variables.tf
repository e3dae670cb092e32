variable "project_id" {
  description = "Id of the project, as `gcloud projects list` shows it. It must have billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id: 6 to 30 small letters, digits and dashes, as `gcloud projects list` shows it."
  }
}

variable "region" {
  description = "Singapore is near to exchanges; e2-micro is free only in us-west1, us-central1 and us-east1."
  type        = string
  default     = "asia-southeast1"
}

variable "zone" {
  description = "Zone of machine, disk and Bigtable, in `region`."
  type        = string
  default     = "asia-southeast1-b"
}

variable "name" {
  description = "Name of everything that is made."
  type        = string
  default     = "depth-collector"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,20}[a-z0-9]$", var.name))
    error_message = "name: 6 to 22 small letters, digits and dashes, beginning with a letter."
  }
}

variable "machine_type" {
  description = "e2-micro (1 GB, a quarter of a CPU) holds 50 markets."
  type        = string
  default     = "e2-micro"
}

variable "image_tag" {
  description = "Tag of the collector's image in the repository; infra/gcloud/deploy.sh pushes it."
  type        = string
  default     = "live"
}

variable "backend" {
  description = "bigtable (a node costs some hundreds of USD a month), or local: Parquet on the data disk."
  type        = string
  default     = "local"

  validation {
    condition     = contains(["local", "bigtable"], var.backend)
    error_message = "backend: local or bigtable."
  }
}

variable "settings" {
  description = "Environment of the collector, by name: SYMBOL, COLLECTOR_EXCHANGE, COLLECTOR_STREAMS, …"
  type        = map(string)
  default = {
    SYMBOL = "BTC/USDT"
  }
}

variable "data_gb" {
  description = "Size of the disk of journal, spool and, with backend local, all tables."
  type        = number
  default     = 20
}

variable "ssh_through_iap" {
  description = "Open SSH to Google's Identity-Aware Proxy, which asks who you are; else no port is open at all."
  type        = bool
  default     = false
}

variable "training" {
  description = "Export and train on a schedule, as a Cloud Run job; needs backend bigtable."
  type = object({
    schedule = optional(string, "30 0 * * *")
    symbol   = optional(string, "BTCUSDT")
    days     = optional(number, 30)
    cpu      = optional(string, "2")
    memory   = optional(string, "8Gi")
  })
  default = null
}
