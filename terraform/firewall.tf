# Who may talk to whom. Rules between parts of the service name groups, never address ranges: the databases stay
# closed to anything else in the VPC.

# The instances, and with them (bridge networking) the web, KGS and migrate tasks.
resource "aws_security_group" "web" {
  name        = "${var.name}-web"
  description = "Web servers, and the KGS and migrations that run beside them"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.name}-web" }
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "The key-db and the msg-db: reached by the web group only"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.name}-database" }
}

resource "aws_security_group" "balancer" {
  count = var.high_availability ? 1 : 0

  name        = "${var.name}-balancer"
  description = "The load balancer"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.name}-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "database_from_web" {
  security_group_id            = aws_security_group.database.id
  description                  = "PostgreSQL from the web servers and the KGS"
  referenced_security_group_id = aws_security_group.web.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "web_to_database" {
  security_group_id            = aws_security_group.web.id
  description                  = "PostgreSQL"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "web_to_aws" {
  security_group_id = aws_security_group.web.id
  description       = "ECS, ECR, CloudWatch and Parameter Store, whose addresses change"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# The world reaches the single server itself, or the load balancer in front of several.
resource "aws_vpc_security_group_ingress_rule" "public" {
  # checkov:skip=CKV_AWS_260:Port 80 does nothing but redirect to https.
  for_each = { http = 80, https = 443 }

  security_group_id = one(concat(aws_security_group.balancer[*].id, var.high_availability ? [] : [aws_security_group.web.id]))
  description       = "${each.key} from anywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

# Docker gives the nginx of each task a free port, so that two of them can run while one replaces the other.
resource "aws_vpc_security_group_ingress_rule" "web_from_balancer" {
  count = var.high_availability ? 1 : 0

  security_group_id            = aws_security_group.web.id
  description                  = "nginx, on ports of Docker's choice, from the load balancer"
  referenced_security_group_id = aws_security_group.balancer[0].id
  ip_protocol                  = "tcp"
  from_port                    = 32768
  to_port                      = 65535
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_web" {
  count = var.high_availability ? 1 : 0

  security_group_id            = aws_security_group.balancer[0].id
  description                  = "nginx, on ports of Docker's choice"
  referenced_security_group_id = aws_security_group.web.id
  ip_protocol                  = "tcp"
  from_port                    = 32768
  to_port                      = 65535
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = toset(var.ssh_cidr_blocks)

  security_group_id = aws_security_group.web.id
  description       = "SSH from where ssh_cidr_blocks says"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}
