# What runs once: migrations for each version and each new password, the KGS for each key-db. Both are ECS
# tasks that `apply` starts, waits for and reports on: docs/decisions/0009-kgs-once.md.

resource "aws_ecs_task_definition" "migrate" {
  family                   = "${var.name}-migrate"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  execution_role_arn       = aws_iam_role.execution["migrate"].arn

  container_definitions = jsonencode([merge(local.hardened, {
    name    = "migrate"
    image   = local.image["server"]
    memory  = local.memory["migrate"]
    command = ["python", "-m", "server", "migrate"]

    # HOST: the image's default is for serving, and would require PUBLIC_URL.
    environment = [
      { name = "HOST", value = "127.0.0.1" },
      { name = "LOG_FORMAT", value = "json" },
    ]

    # As the owner; the other three name the roles that it makes, with their passwords.
    secrets = [for name, login in {
      KEY_DB_URL     = "owner_key_db"
      MSG_DB_URL     = "owner_msg_db"
      WEB_KEY_DB_URL = "web_key_db"
      WEB_MSG_DB_URL = "web_msg_db"
      KGS_KEY_DB_URL = "kgs_key_db"
    } : { name = name, valueFrom = aws_ssm_parameter.url[login].arn }]

    logConfiguration = local.log_configuration["migrate"]
  })])
}

resource "aws_ecs_task_definition" "kgs" {
  family                   = "${var.name}-kgs"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  execution_role_arn       = aws_iam_role.execution["kgs"].arn

  container_definitions = jsonencode([merge(local.hardened, {
    name    = "kgs"
    image   = local.image["kgs"]
    memory  = local.memory["kgs"]
    command = concat(["python", "-m", "kgs", "seed"], var.key_count == null ? ["--all"] : ["--count", tostring(var.key_count)])

    environment = [{ name = "LOG_FORMAT", value = "json" }]
    secrets     = [{ name = "KEY_DB_URL", valueFrom = aws_ssm_parameter.url["kgs_key_db"].arn }]

    # Committed progress stays; the next run continues from there.
    stopTimeout      = 60
    logConfiguration = local.log_configuration["kgs"]
  })])
}

resource "terraform_data" "migrate" {
  triggers_replace = {
    image            = local.image["server"]
    password_version = var.password_version
    key_db           = aws_db_instance.key.resource_id
    msg_db           = aws_db_instance.msg.resource_id
  }

  provisioner "local-exec" {
    command = "sh ${path.module}/run_task.sh ${var.region} ${aws_ecs_cluster.main.name} ${aws_ecs_task_definition.migrate.arn}"
  }

  depends_on = [
    aws_autoscaling_group.web,
    aws_eip_association.web,
    aws_iam_role_policy.execution,
    aws_route_table_association.private,
    aws_vpc_security_group_egress_rule.web_to_database,
    aws_vpc_security_group_ingress_rule.database_from_web,
  ]
}

# Once for each key-db. A failed run marks this as tainted: the next apply runs it again, and the KGS continues
# where it stopped.
resource "terraform_data" "kgs" {
  triggers_replace = {
    key_db    = aws_db_instance.key.resource_id
    key_count = var.key_count
  }

  provisioner "local-exec" {
    command = "sh ${path.module}/run_task.sh ${var.region} ${aws_ecs_cluster.main.name} ${aws_ecs_task_definition.kgs.arn}"
  }

  depends_on = [terraform_data.migrate]
}
