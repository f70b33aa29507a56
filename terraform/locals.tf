# Names and choices that several files share.

locals {
  # The version of this checkout, unless image_tag names another build.
  image_tag = coalesce(var.image_tag, regex("(?m)^version = (\\S+)$", file("${path.module}/../setup.cfg"))[0])

  # Two zones in either variant: RDS wants two for a subnet group.
  zones = { for index, zone in slice(data.aws_availability_zones.available.names, 0, 2) : zone => index }

  host = var.domain_name != null ? var.domain_name : aws_eip.web[0].public_ip
  url  = "https://${local.host}"

  # Graviton types have a g after the generation's number: t4g, m7gd, c8gn.
  architecture = can(regex("^([a-z]+[0-9]+g[a-z]*|a1)\\.", var.instance_type)) ? "arm64" : "amd64"

  # Docker's default bridge: where a container of a task in bridge mode sees its neighbours.
  bridge_cidr = "172.17.0.0/16"
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394:The first two by name are taken, and AWS adds new letters at the end.
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}
