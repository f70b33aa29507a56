# The variant with a load balancer. Plans only.

variables {
  fellow_name       = "mw"
  high_availability = true
  domain_name       = "notes.example.org"
  hosted_zone_id    = "Z0123456789ABCDEFGHIJ"
}

run "several_servers_in_two_zones" {
  command = plan

  assert {
    condition     = length(aws_instance.web) == 0 && length(aws_eip.web) == 0
    error_message = "No single instance beside the group."
  }

  assert {
    condition     = aws_autoscaling_group.web[0].min_size == 2 && aws_autoscaling_group.web[0].max_size == 4
    error_message = "Two instances, and room for two more while they are replaced."
  }

  assert {
    condition     = length(distinct([for subnet in aws_subnet.public : subnet.availability_zone])) == 2
    error_message = "Two zones."
  }

  assert {
    condition     = aws_ecs_service.web.desired_count == 2 && aws_ecs_service.web.deployment_minimum_healthy_percent == 100 && aws_ecs_service.web.deployment_maximum_percent == 200
    error_message = "New tasks are up before old ones go."
  }

  assert {
    condition     = aws_db_instance.key.multi_az && aws_db_instance.msg.multi_az
    error_message = "Each database has a standby in the other zone."
  }

  assert {
    condition     = aws_db_instance.msg.backup_retention_period == 0 && aws_db_instance.msg.skip_final_snapshot
    error_message = "Nothing of the msg-db outlives its notes here either."
  }
}

run "tls_ends_at_the_load_balancer" {
  command = plan

  assert {
    condition     = aws_lb_listener.https[0].protocol == "HTTPS" && aws_lb_listener.https[0].ssl_policy == "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
    error_message = "TLS 1.2 and 1.3, with a post-quantum key exchange."
  }

  assert {
    condition     = aws_lb_listener.http[0].default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "Plain HTTP is redirected."
  }

  assert {
    condition     = length(aws_lb.web[0].access_logs) == 0
    error_message = "The load balancer keeps no log: it would hold tokens."
  }

  assert {
    condition     = aws_acm_certificate.web[0].domain_name == "notes.example.org" && aws_acm_certificate.web[0].validation_method == "DNS"
    error_message = "A certificate for the name, renewed by AWS."
  }

  assert {
    condition     = aws_lb.web[0].enable_deletion_protection && aws_lb.web[0].drop_invalid_header_fields
    error_message = "The load balancer is protected and strict."
  }
}

run "more_servers" {
  command = plan

  variables {
    instance_count = 4
    instance_type  = "t3.small"
  }

  assert {
    condition     = aws_ecs_service.web.desired_count == 4 && aws_autoscaling_group.web[0].min_size == 4
    error_message = "As many tasks as instances."
  }
}

run "a_certificate_of_ones_own" {
  command = plan

  variables {
    hosted_zone_id  = null
    certificate_arn = "arn:aws:acm:us-west-2:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  assert {
    condition     = aws_lb_listener.https[0].certificate_arn == var.certificate_arn && length(aws_acm_certificate.web) == 0
    error_message = "The given certificate is used, and none is made."
  }

  assert {
    condition     = length(aws_route53_record.web) == 0
    error_message = "Without a zone there is no record."
  }
}
