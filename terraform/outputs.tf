# What an operator needs next.

output "url" {
  description = "The URL of the service, which links start with."
  value       = local.url
}

output "kgs_run_command" {
  description = "Runs the KGS again, from terraform/. Words after it replace its own command: python -m kgs status, verify, fence …"
  value       = "sh run_task.sh ${var.region} ${aws_ecs_cluster.main.name} ${aws_ecs_task_definition.kgs.family}"
}

output "database_addresses" {
  description = "Host and port of the two databases, reachable from the web servers only."
  value       = { for name, database in local.database : name => database.endpoint }
}

output "log_groups" {
  description = "CloudWatch log groups of the containers and the databases."
  value = merge(
    { for name, group in aws_cloudwatch_log_group.container : name => group.name },
    { for name, group in aws_cloudwatch_log_group.database : name => group.name },
  )
}

output "registry" {
  description = "Where the images are pushed to: this, and /server, /kgs or /nginx."
  value       = trimsuffix(aws_ecr_repository.image["server"].repository_url, "/server")
}

output "platform" {
  description = "What the images are built for: the instances' architecture."
  value       = "linux/${local.architecture}"

  # `make push` applies the repositories only, and reads this as well.
  depends_on = [aws_ecr_repository.image]
}

output "image_tag" {
  description = "The build that runs."
  value       = local.image_tag
}

output "dns_target" {
  description = "What domain_name must point to if hosted_zone_id is not set."
  value       = var.high_availability ? one(aws_lb.web[*].dns_name) : one(aws_eip.web[*].public_ip)
}
