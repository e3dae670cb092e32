variable "region" {
  description = "Where everything is. Tokyo is nearest to Binance; any other works with more delay."
  type        = string
  default     = "ap-northeast-1"
}

variable "name" {
  description = "Name of everything that is made, and part of the bucket's."
  type        = string
  default     = "depth-collector"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "name: 3 to 32 small letters, digits and dashes, beginning with a letter."
  }
}

variable "instance_type" {
  description = "t3.micro (1 GB, 2 bursting CPUs) holds 50 markets."
  type        = string
  default     = "t3.micro"
}

variable "image_tag" {
  description = "Tag of the collector's image in the repository; infra/aws/deploy.sh pushes it."
  type        = string
  default     = "live"
}

variable "settings" {
  description = "Environment of the collector, by name: SYMBOL, COLLECTOR_EXCHANGE, COLLECTOR_STREAMS, …"
  type        = map(string)
  default = {
    SYMBOL = "BTC/USDT"
  }
}

variable "data_gb" {
  description = "Size of the volume of journal and spool."
  type        = number
  default     = 20
}

variable "keep_days" {
  description = "Days until objects move to a colder class of storage; nothing is deleted."
  type        = number
  default     = 30
}

variable "ssh_from" {
  description = "Address ranges that may use SSH, such as [\"203.0.113.7/32\"]; empty opens no port. SSM needs none."
  type        = list(string)
  default     = []
}

variable "ssh_key_name" {
  description = "Name of an EC2 key pair, for SSH."
  type        = string
  default     = null
}

variable "training" {
  description = "Export and train on a schedule (AWS Batch on Fargate)."
  type = object({
    schedule = optional(string, "cron(30 0 * * ? *)")
    symbol   = optional(string, "BTCUSDT")
    days     = optional(number, 30)
    vcpus    = optional(number, 2)
    memory   = optional(number, 8192)
  })
  default = null
}
