# Passwords and the database URLs that hold them. They pass through Terraform in ephemeral resources and
# write-only arguments, so neither plan nor state has them. In Parameter Store, not Secrets Manager:
# docs/decisions/0010-passwords-in-parameter-store.md

locals {
  database = { key_db = aws_db_instance.key, msg_db = aws_db_instance.msg }

  # Who logs in where: the owner migrates, the web role leases keys and uses notes, the KGS role fills
  # the key table. What each may do is in server/roles.py.
  login = {
    owner_key_db = { database = "key_db", role = "schema_owner" }
    owner_msg_db = { database = "msg_db", role = "schema_owner" }
    web_key_db   = { database = "key_db", role = "web" }
    web_msg_db   = { database = "msg_db", role = "web" }
    kgs_key_db   = { database = "key_db", role = "kgs" }
  }

  # Against RDS's own authorities, which images built with DATABASE_AUTHORITIES=rds carry.
  tls_query = "sslmode=verify-full&sslrootcert=/etc/ssl/note-whisperer/rds.pem"
}

ephemeral "aws_secretsmanager_random_password" "password" {
  for_each = local.login

  password_length     = 40
  exclude_punctuation = true # because it becomes part of a URL
}

# The owners' passwords are needed before the databases have addresses. They are stored first and read back,
# so that an apply that stops half-way and is repeated gives the database the password that is stored.
resource "aws_ssm_parameter" "owner_password" {
  # checkov:skip=CKV_AWS_337:The account's own key for Parameter Store encrypts it; another key costs and guards the same account.
  for_each = toset(["key_db", "msg_db"])

  name             = "/${var.name}/${each.key}/owner-password"
  description      = "Password of the owner of the ${replace(each.key, "_", "-")}"
  type             = "SecureString"
  value_wo         = ephemeral.aws_secretsmanager_random_password.password["owner_${each.key}"].random_password
  value_wo_version = var.password_version
}

ephemeral "aws_ssm_parameter" "owner_password" {
  for_each = aws_ssm_parameter.owner_password

  arn = each.value.arn
}

resource "aws_ssm_parameter" "url" {
  # checkov:skip=CKV_AWS_337:As owner_password.
  for_each = local.login

  name        = "/${var.name}/${each.value.database}/${each.value.role}-url"
  description = "URL under which the ${each.value.role} role logs in to the ${replace(each.value.database, "_", "-")}"
  type        = "SecureString"
  value_wo = format(
    "postgresql://%s:%s@%s/%s?%s",
    each.value.role,
    (
      startswith(each.key, "owner_")
      ? ephemeral.aws_ssm_parameter.owner_password[each.value.database].value
      : ephemeral.aws_secretsmanager_random_password.password[each.key].random_password
    ),
    local.database[each.value.database].endpoint,
    each.value.database,
    local.tls_query,
  )
  value_wo_version = var.password_version

  # A database that is created again may have another address, and has no roles yet.
  lifecycle {
    replace_triggered_by = [aws_db_instance.key.resource_id, aws_db_instance.msg.resource_id]
  }
}
