# The X-Ray daemon as a container of your own task in awsvpc mode, on Fargate or EC2:
#
#   module "xray" {
#     source            = "git::https://github.com/xray-daemon/xray.git//deploy/terraform/modules/sidecar?ref=v0.1.0"
#     log_configuration = local.logs
#   }
#
# Put module.xray.container beside your containers, module.xray.environment and module.xray.depends_on into them,
# and module.xray.policy_json on the task's role. ../../fargate-sidecar does all of it.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Majors 5 and 6.
      version = ">= 5.90"
    }
  }
}

variable "image" {
  description = "The daemon's image."
  type        = string
  default     = "ghcr.io/xray-daemon/xray:0.1.0"
}

variable "command" {
  description = "The daemon's flags. The loopback only: nobody outside of the task can have requests signed."
  type        = list(string)
  default     = ["-b", "127.0.0.1:2000", "-t", "127.0.0.1:2000"]
}

variable "log_configuration" {
  description = "The container's logConfiguration, as in a container definition."
  type        = any
  default     = null
}

data "aws_iam_policy_document" "xray_daemon" {
  statement {
    actions = [
      "xray:PutTraceSegments",
      "xray:PutTelemetryRecords",
      "xray:GetSamplingRules",
      "xray:GetSamplingTargets",
      "xray:GetSamplingStatisticSummaries",
    ]
    resources = ["*"]
  }
}

output "container" {
  description = "The daemon's container definition."
  value = {
    name  = "xray-daemon"
    image = var.image
    # Tracing never takes the application down: the daemon is restarted in place instead.
    essential              = false
    restartPolicy          = { enabled = true }
    cpu                    = 32
    memory                 = 64
    user                   = "10001"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    command                = var.command
    healthCheck = {
      command     = ["CMD", "/xray", "healthcheck"]
      interval    = 10
      timeout     = 2
      retries     = 3
      startPeriod = 5
    }
    logConfiguration = var.log_configuration
  }
}

output "environment" {
  description = "For the environment of the containers that are traced."
  value       = [{ name = "AWS_XRAY_DAEMON_ADDRESS", value = "127.0.0.1:2000" }]
}

output "depends_on" {
  description = "For their dependsOn: the daemon starts first and, because of this, is stopped last."
  value       = [{ containerName = "xray-daemon", condition = "START" }]
}

output "policy_json" {
  description = "For the role of the task: what the daemon may do."
  value       = data.aws_iam_policy_document.xray_daemon.json
}
