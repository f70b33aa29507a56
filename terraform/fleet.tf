# With high availability, in place of the one instance: a group of them that ECS makes larger and smaller.

resource "aws_autoscaling_group" "web" {
  count = var.high_availability ? 1 : 0

  name                = "${var.name}-web"
  vpc_zone_identifier = [for subnet in aws_subnet.public : subnet.id]
  min_size            = var.instance_count
  max_size            = 2 * var.instance_count # room to put new instances beside old ones
  health_check_type   = "EC2"

  launch_template {
    id      = aws_launch_template.web.id
    version = aws_launch_template.web.latest_version
  }

  # A new launch template replaces instances a few at a time; ECS drains each first.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 200
    }
  }

  dynamic "tag" {
    for_each = { Name = "${var.name}-web", AmazonECSManaged = "true" }

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  lifecycle {
    ignore_changes = [desired_capacity] # ECS's to decide, between min and max
  }

  depends_on = [aws_route_table_association.public]
}

resource "aws_ecs_capacity_provider" "web" {
  count = var.high_availability ? 1 : 0

  name = "${var.name}-web"

  auto_scaling_group_provider {
    auto_scaling_group_arn = aws_autoscaling_group.web[0].arn
    managed_draining       = "ENABLED"

    managed_scaling {
      status          = "ENABLED"
      target_capacity = 100
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  count = var.high_availability ? 1 : 0

  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = [aws_ecs_capacity_provider.web[0].name]
}
