# The web server: nginx and a Tornado process side by side in one task, kept running by ECS.

resource "aws_ecs_task_definition" "web" {
  family                   = "${var.name}-web"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  execution_role_arn       = aws_iam_role.execution["web"].arn

  container_definitions = jsonencode(concat(
    [local.server_container, local.nginx_container],
    [for container in [local.certificate_container] : container if var.tls_certificate != null],
  ))

  # Outlives the task, so that a self-signed certificate stays the same while the instance does. Behind a
  # load balancer nginx needs none.
  dynamic "volume" {
    for_each = local.tls_mounts

    content {
      name = volume.value.sourceVolume

      docker_volume_configuration {
        scope         = "shared"
        autoprovision = true
        driver        = "local"
      }
    }
  }

  # The old revision stays until the new one runs: ECS rolls back to it if the new one does not become healthy.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_ecs_service" "web" {
  name            = "${var.name}-web"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.web.arn
  desired_count   = var.high_availability ? var.instance_count : 1

  # An apply ends when the service is up, not before.
  wait_for_steady_state = true

  launch_type = var.high_availability ? null : "EC2"

  dynamic "capacity_provider_strategy" {
    for_each = aws_ecs_capacity_provider.web

    content {
      capacity_provider = capacity_provider_strategy.value.name
      weight            = 100
    }
  }

  # The single server's ports are taken until the old task is gone: an update costs a few seconds. Behind the
  # load balancer new tasks are healthy before old ones are drained.
  deployment_minimum_healthy_percent = var.high_availability ? 100 : 0
  deployment_maximum_percent         = var.high_availability ? 200 : 100
  availability_zone_rebalancing      = var.high_availability ? "ENABLED" : "DISABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "ordered_placement_strategy" {
    for_each = var.high_availability ? ["attribute:ecs.availability-zone", "instanceId"] : []

    content {
      type  = "spread"
      field = ordered_placement_strategy.value
    }
  }

  health_check_grace_period_seconds = var.high_availability ? 60 : null

  dynamic "load_balancer" {
    for_each = aws_lb_target_group.web

    content {
      target_group_arn = load_balancer.value.arn
      container_name   = "nginx"
      container_port   = local.nginx_port.http
    }
  }

  # Keys first: the service counts as up when it can hand out a link.
  depends_on = [
    terraform_data.kgs,
    aws_iam_role_policy.execution,
    aws_lb_listener.https,
    aws_ecs_cluster_capacity_providers.main,
  ]
}
