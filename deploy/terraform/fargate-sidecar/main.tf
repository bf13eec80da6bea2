# An application on Fargate with the X-Ray daemon as a sidecar.
#   terraform init
#   terraform apply -var cluster=my-cluster -var vpc_id=vpc-0123456789abcdef0 \
#     -var 'subnet_ids=["subnet-0123456789abcdef0"]' -var app_image=my-app

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

variable "app_image" {
  description = "Your application's image."
  type        = string
}

variable "app_port" {
  type    = number
  default = 8080
}

variable "app_client_cidr" {
  description = "Who may reach the application's port."
  type        = string
  default     = "10.0.0.0/8"
}

variable "cluster" {
  description = "Name or ARN of an existing ECS cluster."
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  description = "They need a way to xray.<region>.amazonaws.com: NAT, a public address, or the xray VPC endpoint."
  type        = list(string)
}

variable "assign_public_ip" {
  type    = bool
  default = false
}

variable "cpu_architecture" {
  type    = string
  default = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "X86_64 or ARM64."
  }
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

# What the containers themselves may do: this is the role the daemon signs with.
resource "aws_iam_role" "task" {
  name_prefix        = "example-app-task-"
  assume_role_policy = data.aws_iam_policy_document.ecs_trust.json
}

resource "aws_iam_role_policy" "xray_daemon" {
  name   = "xray-daemon"
  role   = aws_iam_role.task.id
  policy = module.xray.policy_json
}

# What ECS does before and around the containers: pull images, write their logs. Nothing of X-Ray.
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

# No rule for port 2000: the two containers share the task's loopback, and the daemon listens only there.
resource "aws_security_group" "this" {
  name_prefix = "example-app-"
  description = "Application with an X-Ray sidecar"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "app" {
  security_group_id = aws_security_group.this.id
  cidr_ipv4         = var.app_client_cidr
  ip_protocol       = "tcp"
  from_port         = var.app_port
  to_port           = var.app_port
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "X-Ray, ECR, CloudWatch Logs"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
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

module "xray" {
  source = "../modules/sidecar"

  log_configuration = local.logs
}

resource "aws_ecs_task_definition" "this" {
  family                   = "example-app"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "256"
  memory                   = "512"
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([
    {
      name             = "app"
      image            = var.app_image
      essential        = true
      portMappings     = [{ containerPort = var.app_port, protocol = "tcp" }]
      environment      = module.xray.environment
      dependsOn        = module.xray.depends_on
      logConfiguration = local.logs
    },
    module.xray.container,
  ])
}

resource "aws_ecs_service" "this" {
  name            = "example-app"
  cluster         = var.cluster
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = 1

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.this.id]
    assign_public_ip = var.assign_public_ip
  }
}

output "task_role_arn" {
  value = aws_iam_role.task.arn
}
