# The two databases. They differ in one thing: the key-db must survive everything, and nothing of the
# msg-db may outlive its notes.

locals {
  # The major version that compose.yaml and `make run` use; RDS updates the minor ones.
  postgres_version = "18"
}

resource "aws_db_subnet_group" "private" {
  name       = var.name
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
}

# Nothing that a client sends may appear in PostgreSQL's logs: statements hold sealed notes and verifiers,
# and error messages quote rows.
resource "aws_db_parameter_group" "quiet" {
  name        = "${var.name}-postgres${local.postgres_version}"
  family      = "postgres${local.postgres_version}"
  description = "TLS only, no statement in the logs"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  dynamic "parameter" {
    for_each = {
      "log_statement"                     = "none"
      "log_min_duration_statement"        = "-1"
      "log_min_error_statement"           = "panic"
      "log_parameter_max_length"          = "0"
      "log_parameter_max_length_on_error" = "0"
      # The detail of a violated constraint is the whole row.
      "log_error_verbosity" = "terse"
      # RDS loads pg_stat_statements, which keeps utility statements as they were typed.
      "pg_stat_statements.track_utility" = "0"
      # In MiB. The write-ahead log must fit into the fifth of the disk that MAX_STORED_BYTES leaves.
      "max_wal_size" = "1024"
    }

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "key" {
  # checkov:skip=CKV_AWS_118:CloudWatch's metrics of the instance are enough; enhanced monitoring costs by the instance.
  # checkov:skip=CKV_AWS_353:Performance Insights keeps statements; none may be kept.
  # checkov:skip=CKV2_AWS_30:Query logging is off on purpose, see the parameter group.
  # checkov:skip=CKV_AWS_161:The roles' passwords come from ephemeral resources; IAM tokens expire in 15 minutes and the pool reconnects for months.
  # checkov:skip=CKV_AWS_157:Multi-AZ with high_availability; the single server is within the free tier.
  # checkov:skip=CKV_AWS_293:deletion_protection is true by default; it is a variable so that `terraform destroy` is possible.
  identifier = "${var.name}-key-db"
  db_name    = "key_db"

  engine                     = "postgres"
  engine_version             = local.postgres_version
  auto_minor_version_upgrade = true
  parameter_group_name       = aws_db_parameter_group.quiet.name

  instance_class        = var.database_instance_class
  allocated_storage     = var.storage_gib
  max_allocated_storage = var.max_storage_gib
  storage_type          = "gp3"
  storage_encrypted     = true
  multi_az              = var.high_availability

  username            = "schema_owner"
  password_wo         = ephemeral.aws_ssm_parameter.owner_password["key_db"].value
  password_wo_version = var.password_version

  db_subnet_group_name   = aws_db_subnet_group.private.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false

  # A lost key-db would hand out keys that old links still name, so it is kept: backups, a final snapshot,
  # and no deletion by accident. It holds no note.
  backup_retention_period   = var.key_db_backup_days
  copy_tags_to_snapshot     = true
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-key-db-final-${terraform_data.installation.output}"

  apply_immediately               = true
  enabled_cloudwatch_logs_exports = ["postgresql"]

  depends_on = [aws_cloudwatch_log_group.database]
}

resource "aws_db_instance" "msg" {
  # checkov:skip=CKV_AWS_118:As the key-db.
  # checkov:skip=CKV_AWS_353:As the key-db.
  # checkov:skip=CKV2_AWS_30:As the key-db.
  # checkov:skip=CKV_AWS_161:As the key-db.
  # checkov:skip=CKV_AWS_157:As the key-db.
  # checkov:skip=CKV_AWS_293:As the key-db.
  # checkov:skip=CKV_AWS_133:No backups on purpose, see below.
  # checkov:skip=CKV2_AWS_60:There are no snapshots to copy tags to.
  identifier = "${var.name}-msg-db"
  db_name    = "msg_db"

  engine                     = "postgres"
  engine_version             = local.postgres_version
  auto_minor_version_upgrade = true
  parameter_group_name       = aws_db_parameter_group.quiet.name

  instance_class        = var.database_instance_class
  allocated_storage     = var.storage_gib
  max_allocated_storage = var.max_storage_gib
  storage_type          = "gp3"
  storage_encrypted     = true
  multi_az              = var.high_availability

  username            = "schema_owner"
  password_wo         = ephemeral.aws_ssm_parameter.owner_password["msg_db"].value
  password_wo_version = var.password_version

  db_subnet_group_name   = aws_db_subnet_group.private.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false

  # No backup and no final snapshot: a copy of the msg-db made before a note was read, together with the
  # note's link, would open the note after it destroyed itself. Only unread notes, at most
  # thirty days old, are lost with the database, and Multi-AZ protects those.
  backup_retention_period = 0
  skip_final_snapshot     = true
  deletion_protection     = var.deletion_protection

  apply_immediately               = true
  enabled_cloudwatch_logs_exports = ["postgresql"]

  depends_on = [aws_cloudwatch_log_group.database]
}

# When this installation was first applied, so that the last snapshots of two installations of the same
# name have different names.
resource "terraform_data" "installation" {
  input = formatdate("YYYYMMDDhhmmss", plantimestamp())

  lifecycle {
    ignore_changes = [input]
  }
}
