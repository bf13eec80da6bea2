# One X-Ray daemon on every EC2 instance of an ECS cluster, with its roles and its log group:
#
#   module "xray" {
#     source                     = "git::https://github.com/xray-daemon/xray.git//deploy/terraform/modules/ecs-daemon?ref=v0.1.0"
#     cluster                    = "my-cluster"
#     instance_security_group_id = "sg-0123456789abcdef0"
#   }
#
# ../../ec2-daemon has an application beside it.

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

variable "cluster" {
  description = "Name or ARN of an existing ECS cluster with EC2 container instances, x86_64, ARM or both."
  type        = string
}

variable "instance_security_group_id" {
  description = "Security group of the container instances."
  type        = string
}

variable "awsvpc_app_security_group_id" {
  description = "Security group of applications in awsvpc mode, which come from outside the instance. Null when all are in bridge or host mode."
  type        = string
  default     = null
}

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_iam_policy_document" "ecs_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
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

# What the daemon itself may do: it signs with this role.
resource "aws_iam_role" "task" {
  name_prefix        = "xray-daemon-task-"
  assume_role_policy = data.aws_iam_policy_document.ecs_trust.json
}

resource "aws_iam_role_policy" "xray_daemon" {
  name   = "xray-daemon"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.xray_daemon.json
}

# What ECS does around the containers: pull images, write their logs. Nothing of X-Ray.
resource "aws_iam_role" "execution" {
  name_prefix        = "xray-daemon-exec-"
  assume_role_policy = data.aws_iam_policy_document.ecs_trust.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/xray-daemon"
  retention_in_days = 14
}

# Segments come by UDP, sampling rules by TCP: one without the other is half a daemon.
resource "aws_vpc_security_group_ingress_rule" "daemon" {
  for_each = var.awsvpc_app_security_group_id == null ? {} : { udp = "segments", tcp = "sampling rules" }

  security_group_id            = var.instance_security_group_id
  referenced_security_group_id = var.awsvpc_app_security_group_id
  description                  = "X-Ray ${each.value}"
  ip_protocol                  = each.key
  from_port                    = 2000
  to_port                      = 2000
}

locals {
  logs = {
    logDriver = "awslogs"
    options = {
      awslogs-group = aws_cloudwatch_log_group.this.name
      # Not .name, which major 6 deprecates, nor .region, which major 5 lacks.
      awslogs-region        = data.aws_region.current.id
      awslogs-stream-prefix = "ecs"
    }
  }
}

# No runtime_platform: the image is multi-architecture and goes wherever an instance is.
resource "aws_ecs_task_definition" "this" {
  family                   = "xray-daemon"
  requires_compatibilities = ["EC2"]
  # Not bridge: a published UDP port keeps NAT state that can point at a container that is gone.
  network_mode       = "host"
  task_role_arn      = aws_iam_role.task.arn
  execution_role_arn = aws_iam_role.execution.arn

  container_definitions = jsonencode([
    {
      name                   = "xray-daemon"
      image                  = var.image
      essential              = true
      cpu                    = 64
      memory                 = 128
      user                   = "10001"
      readonlyRootFilesystem = true
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      portMappings = [
        { containerPort = 2000, hostPort = 2000, protocol = "udp" },
        { containerPort = 2000, hostPort = 2000, protocol = "tcp" },
      ]
      healthCheck = {
        command     = ["CMD", "/xray", "healthcheck"]
        interval    = 10
        timeout     = 2
        retries     = 3
        startPeriod = 5
      }
      logConfiguration = local.logs
    },
  ])
}

resource "aws_ecs_service" "this" {
  name                = "xray-daemon"
  cluster             = var.cluster
  task_definition     = aws_ecs_task_definition.this.arn
  launch_type         = "EC2"
  scheduling_strategy = "DAEMON"

  # Port 2000 of the host can be held once: the old task must go before the new one starts.
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
}

output "task_role_arn" {
  description = "The role that the daemon signs with."
  value       = aws_iam_role.task.arn
}

output "log_group_name" {
  value = aws_cloudwatch_log_group.this.name
}

output "service_name" {
  value = aws_ecs_service.this.name
}
