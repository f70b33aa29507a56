# With high availability: one address for several web servers, and where TLS ends. Also the name in DNS,
# which either variant may have.

resource "aws_lb" "web" {
  # checkov:skip=CKV_AWS_91:No access log: it would hold every URL, and with it keys and tokens.
  # checkov:skip=CKV2_AWS_28:No WAF: it would read messages in the clear; nginx limits requests by address.
  # checkov:skip=CKV_AWS_150:deletion_protection is true by default; it is a variable so that `terraform destroy` is possible.
  count = var.high_availability ? 1 : 0

  name            = var.name
  security_groups = [aws_security_group.balancer[0].id]
  subnets         = [for subnet in aws_subnet.public : subnet.id]

  drop_invalid_header_fields = true
  # What does not parse cleanly never reaches nginx: no request is smuggled past it.
  desync_mitigation_mode = "strictest"
  # Longer than nginx waits for the server to learn how a reveal ended.
  idle_timeout = 90

  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "web" {
  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer; from there to nginx, requests stay in the VPC.
  count = var.high_availability ? 1 : 0

  name_prefix = "notes-"
  vpc_id      = aws_vpc.main.id
  port        = 80
  protocol    = "HTTP"

  # Longer than any request may take, so that a task that stops completes its answers.
  deregistration_delay          = 90
  load_balancing_algorithm_type = "least_outstanding_requests"

  # The form, through nginx and a server process. Not /readyz: without the databases, every target would be
  # removed, and with it the page that says so.
  health_check {
    path                = "/"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "https" {
  count = var.high_availability ? 1 : 0

  load_balancer_arn = aws_lb.web[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
  certificate_arn   = local.acm_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.web[0].arn
  }
}

resource "aws_lb_listener" "http" {
  count = var.high_availability ? 1 : 0

  load_balancer_arn = aws_lb.web[0].arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

locals {
  makes_certificate = var.high_availability && var.hosted_zone_id != null

  # The validated one: a listener takes no certificate that is still pending.
  acm_arn = local.makes_certificate ? one(aws_acm_certificate_validation.web[*].certificate_arn) : var.certificate_arn
}

resource "aws_acm_certificate" "web" {
  count = local.makes_certificate ? 1 : 0

  domain_name       = var.domain_name
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  for_each = local.makes_certificate ? toset([var.domain_name]) : toset([])

  zone_id         = var.hosted_zone_id
  name            = one([for option in aws_acm_certificate.web[0].domain_validation_options : option.resource_record_name])
  type            = one([for option in aws_acm_certificate.web[0].domain_validation_options : option.resource_record_type])
  records         = [for option in aws_acm_certificate.web[0].domain_validation_options : option.resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "web" {
  count = local.makes_certificate ? 1 : 0

  certificate_arn         = aws_acm_certificate.web[0].arn
  validation_record_fqdns = [for record in aws_route53_record.validation : record.fqdn]
}

resource "aws_route53_record" "web" {
  count = var.hosted_zone_id == null ? 0 : 1

  zone_id = var.hosted_zone_id
  name    = var.domain_name
  type    = "A"
  ttl     = var.high_availability ? null : 300
  records = var.high_availability ? null : [aws_eip.web[0].public_ip]

  dynamic "alias" {
    for_each = aws_lb.web

    content {
      name                   = alias.value.dns_name
      zone_id                = alias.value.zone_id
      evaluate_target_health = true
    }
  }
}
