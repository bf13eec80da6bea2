# An application on an ECS cluster with EC2 instances, and one X-Ray daemon on each of them.
#   terraform init
#   terraform apply -var cluster=my-cluster -var instance_security_group_id=sg-0123456789abcdef0 -var app_image=my-app

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

variable "cluster" {
  description = "Name or ARN of an existing ECS cluster with EC2 container instances, x86_64, ARM or both."
  type        = string
}

variable "instance_security_group_id" {
  description = "Security group of the container instances."
  type        = string
}

variable "awsvpc_app_security_group_id" {
  description = "Security group of applications in awsvpc mode. Null when all are in bridge or host mode."
  type        = string
  default     = null
}

variable "app_image" {
  description = "Your application's image."
  type        = string
}

variable "app_port" {
  type    = number
  default = 8080
}

module "xray" {
  source = "../modules/ecs-daemon"

  cluster                      = var.cluster
  instance_security_group_id   = var.instance_security_group_id
  awsvpc_app_security_group_id = var.awsvpc_app_security_group_id
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

# What ECS does around the containers: pull images, write their logs. Nothing of X-Ray.
resource "aws_iam_role" "execution" {
  name_prefix        = "example-app-exec-"
  assume_role_policy = data.aws_iam_policy_document.ecs_trust.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/example-app"
  retention_in_days = 14
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

resource "aws_ecs_task_definition" "app" {
  family                   = "example-app"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  execution_role_arn       = aws_iam_role.execution.arn

  container_definitions = jsonencode([
    {
      name         = "app"
      image        = var.app_image
      essential    = true
      cpu          = 256
      memory       = 512
      portMappings = [{ containerPort = var.app_port, protocol = "tcp" }]
      # The instance itself, as a container on Docker's default bridge sees it.
      environment      = [{ name = "AWS_XRAY_DAEMON_ADDRESS", value = "172.17.0.1:2000" }]
      logConfiguration = local.logs
    },
  ])
}

resource "aws_ecs_service" "app" {
  name            = "example-app"
  cluster         = var.cluster
  task_definition = aws_ecs_task_definition.app.arn
  launch_type     = "EC2"
  desired_count   = 1

  depends_on = [module.xray]
}

output "daemon_task_role_arn" {
  value = module.xray.task_role_arn
}
