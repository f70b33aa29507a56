# What the instances and the starters of tasks may do, action by action and resource by resource. The
# programs in the containers call no AWS API, so no task has a role.

locals {
  cluster_arn = aws_ecs_cluster.main.arn
  ecs_arn     = "arn:${data.aws_partition.current.partition}:ecs:${var.region}:${data.aws_caller_identity.current.account_id}"

  # What each task's start needs: the images that it pulls, the secrets that ECS puts into its environment.
  task = {
    web = {
      images  = ["server", "nginx"]
      logs    = ["server", "nginx"]
      secrets = concat([for login in ["web_key_db", "web_msg_db"] : aws_ssm_parameter.url[login].arn], local.tls_secrets)
    }
    kgs = {
      images  = ["kgs"]
      logs    = ["kgs"]
      secrets = [aws_ssm_parameter.url["kgs_key_db"].arn]
    }
    migrate = {
      images  = ["server"]
      logs    = ["migrate"]
      secrets = [for url in aws_ssm_parameter.url : url.arn]
    }
  }

  tls_secrets = var.tls_certificate == null ? [] : [var.tls_certificate.certificate_arn, var.tls_certificate.key_arn]
}

data "aws_iam_policy_document" "assume_as_task" {
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

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.ecs_arn}:*"]
    }
  }
}

# An execution role each: with one for all, the web task's start could read the owner's URL.
resource "aws_iam_role" "execution" {
  for_each = local.task

  name               = "${var.name}-${each.key}-execution"
  description        = "Starts the ${each.key} task: images, secrets, logs"
  assume_role_policy = data.aws_iam_policy_document.assume_as_task.json
}

data "aws_iam_policy_document" "execution" {
  # checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken knows no resources; everything else names its own.
  for_each = local.task

  statement {
    sid       = "LogInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PullImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for image in each.value.images : aws_ecr_repository.image[image].arn]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for log in each.value.logs : "${aws_cloudwatch_log_group.container[log].arn}:log-stream:*"]
  }

  dynamic "statement" {
    for_each = {
      for service, action in { ssm = "ssm:GetParameters", secretsmanager = "secretsmanager:GetSecretValue" } :
      service => action
      if service == "ssm" || length([for arn in local.tls_secrets : arn if strcontains(arn, ":secretsmanager:")]) > 0 && each.key == "web"
    }

    content {
      sid       = "ReadSecrets${title(statement.key)}"
      actions   = [statement.value]
      resources = [for arn in each.value.secrets : arn if strcontains(arn, ":${statement.key}:")]
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.task

  name   = "start"
  role   = aws_iam_role.execution[each.key].id
  policy = data.aws_iam_policy_document.execution[each.key].json
}

data "aws_iam_policy_document" "assume_as_instance" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "instance" {
  name               = "${var.name}-instance"
  description        = "The ECS agent on the web servers"
  assume_role_policy = data.aws_iam_policy_document.assume_as_instance.json
}

# AWS's own AmazonEC2ContainerServiceforEC2Role allows the same on every cluster and repository, and more.
data "aws_iam_policy_document" "instance" {
  # checkov:skip=CKV_AWS_356:ecs:DiscoverPollEndpoint and ecr:GetAuthorizationToken know no resources.
  statement {
    sid       = "FindEcsAndRegistry"
    actions   = ["ecs:DiscoverPollEndpoint", "ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "JoinCluster"
    actions = [
      "ecs:RegisterContainerInstance",
      "ecs:DeregisterContainerInstance",
      "ecs:SubmitAttachmentStateChanges",
      "ecs:SubmitContainerStateChange",
      "ecs:SubmitTaskStateChange",
    ]
    resources = [local.cluster_arn]
  }

  statement {
    sid       = "RunTasks"
    actions   = ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"]
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  statement {
    sid       = "PullImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for repository in aws_ecr_repository.image : repository.arn]
  }
}

resource "aws_iam_role_policy" "instance" {
  name   = "ecs-agent"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.instance.json
}

resource "aws_iam_instance_profile" "web" {
  name = "${var.name}-web"
  role = aws_iam_role.instance.name
}
