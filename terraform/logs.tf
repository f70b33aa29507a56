# Where logs go and how long they stay. No message, key, token, passphrase or full address is in any of
# them: the programs ensure that, and database.tf for PostgreSQL.

resource "aws_cloudwatch_log_group" "container" {
  # checkov:skip=CKV_AWS_158:CloudWatch encrypts with its own key; there is no secret in them.
  # checkov:skip=CKV_AWS_338:A year of logs of a service that forgets is too much; log_retention_days.
  for_each = toset(["server", "nginx", "kgs", "migrate"])

  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
}

# RDS would make these groups itself, and keep them for ever.
resource "aws_cloudwatch_log_group" "database" {
  # checkov:skip=CKV_AWS_158:As above.
  # checkov:skip=CKV_AWS_338:As above.
  for_each = toset(["key-db", "msg-db"])

  name              = "/aws/rds/instance/${var.name}-${each.key}/postgresql"
  retention_in_days = var.log_retention_days
}
