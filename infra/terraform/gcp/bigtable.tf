# Only with backend bigtable. The tables are those of `collector tables create`; `collector tables check` looks at them.
resource "google_bigtable_instance" "this" {
  #checkov:skip=CKV_GCP_85: encrypted with Google's own keys
  count = local.bigtable

  name                = var.name
  deletion_protection = true
  depends_on          = [google_project_service.this]

  cluster {
    cluster_id   = "${var.name}-1"
    zone         = var.zone
    num_nodes    = 1
    storage_type = "SSD"
  }
}

resource "google_bigtable_table" "market_data" {
  #checkov:skip=CKV_GCP_122: the instance is protected
  count = local.bigtable

  name                = "market_data"
  instance_name       = google_bigtable_instance.this[0].name
  deletion_protection = "PROTECTED"

  column_family {
    family = "data"
  }

  column_family {
    family = "index"
  }
}

resource "google_bigtable_table" "binance_btc_depth" {
  #checkov:skip=CKV_GCP_122: the instance is protected
  count = local.bigtable

  name                = "binance_btc_depth"
  instance_name       = google_bigtable_instance.this[0].name
  deletion_protection = "PROTECTED"

  column_family {
    family = "data"
  }
}

# The newest version of every cell, and nothing expires: a rule by age would delete rows that are filled in later.
locals {
  families = local.bigtable == 0 ? {} : {
    market_data_data  = { table = google_bigtable_table.market_data[0].name, family = "data" }
    market_data_index = { table = google_bigtable_table.market_data[0].name, family = "index" }
    depth_data        = { table = google_bigtable_table.binance_btc_depth[0].name, family = "data" }
  }
}

resource "google_bigtable_gc_policy" "newest" {
  for_each = local.families

  instance_name = google_bigtable_instance.this[0].name
  table         = each.value.table
  column_family = each.value.family

  max_version {
    number = 1
  }
}
