# The machines: what an instance is, and the single one with its fixed address (several: fleet.tf).
# Tasks run in bridge mode: a t2.micro has two network interfaces, and awsvpc takes one for each task.

resource "aws_ecs_cluster" "main" {
  # checkov:skip=CKV_AWS_65:Container Insights costs more than the single server; /metrics and the logs are enough.
  name = var.name
}

# Only its owner makes the key pair. Terraform quotes the first line.
data "aws_key_pair" "operator" { # not found: the region has no key pair named fellow_name and "-IAM-keypair"
  key_name = "${var.fellow_name}-IAM-keypair"
}

resource "aws_launch_template" "web" {
  name = "${var.name}-web"

  # Looked up when an instance starts: each new one has the newest patches, and no plan changes when AWS
  # publishes an image.
  image_id               = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/${local.architecture == "arm64" ? "arm64/" : ""}recommended/image_id"
  instance_type          = var.instance_type
  key_name               = data.aws_key_pair.operator.key_name
  vpc_security_group_ids = [aws_security_group.web.id]
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.web.arn
  }

  # Every request needs a token, and no answer crosses Docker's bridge: containers never see the
  # instance's role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = 30 # what the image requires and the free tier includes
      encrypted             = true
      delete_on_termination = true
    }
  }

  # awslogs writes with the task's execution role, so that the instance's role needs none for logs. Some
  # memory is kept back for the system.
  user_data = base64encode(<<-EOT
    #!/bin/sh
    cat >> /etc/ecs/ecs.config <<'EOF'
    ECS_CLUSTER=${aws_ecs_cluster.main.name}
    ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true
    ECS_DISABLE_PRIVILEGED=true
    ECS_RESERVED_MEMORY=64
    EOF
  EOT
  )

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-web" }
  }

  # What the agent needs from its first second on.
  depends_on = [
    aws_iam_role_policy.instance,
    aws_route.internet,
    aws_vpc_security_group_egress_rule.web_to_aws,
  ]
}

resource "aws_instance" "web" {
  # checkov:skip=CKV_AWS_8:The launch template encrypts the volume.
  # checkov:skip=CKV_AWS_79:The launch template requires IMDSv2.
  # checkov:skip=CKV_AWS_126:Metrics every five minutes are free and enough.
  # checkov:skip=CKV_AWS_135:t2 has no EBS optimisation to switch on.
  # checkov:skip=CKV2_AWS_41:The launch template names the instance profile.
  count = var.high_availability ? 0 : 1

  subnet_id = values(aws_subnet.public)[0].id

  launch_template {
    id      = aws_launch_template.web.id
    version = "$Default"
  }

  tags = { Name = "${var.name}-web" }

  lifecycle {
    replace_triggered_by = [aws_launch_template.web.latest_version]
    # When a tag changes, the provider hashes what it has read a second time, and would write that hash back.
    ignore_changes = [user_data]
  }

  depends_on = [aws_route_table_association.public]
}

# The address stays when the instance is replaced, so that links keep working.
resource "aws_eip" "web" {
  # checkov:skip=CKV2_AWS_19:It is associated below.
  count = var.high_availability ? 0 : 1

  domain = "vpc"

  tags = { Name = "${var.name}-web" }

  depends_on = [aws_internet_gateway.main]
}

resource "aws_eip_association" "web" {
  count = var.high_availability ? 0 : 1

  allocation_id = aws_eip.web[0].id
  instance_id   = aws_instance.web[0].id
}
