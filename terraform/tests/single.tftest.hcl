# The default variant: the seed's single server. Plans only; what an apply makes of it is tested in tests/deploy/.

variables {
  fellow_name = "mw"
}

run "single_server" {
  command = plan

  assert {
    condition     = length(aws_instance.web) == 1 && length(aws_eip.web) == 1 && length(aws_autoscaling_group.web) == 0
    error_message = "One instance with a fixed address, and no group of them."
  }

  assert {
    condition     = aws_launch_template.web.instance_type == "t2.micro"
    error_message = "The free tier has a t2.micro."
  }

  assert {
    condition     = length(aws_lb.web) == 0 && length(aws_acm_certificate.web) == 0 && length(aws_route53_record.web) == 0
    error_message = "No load balancer, certificate or DNS record."
  }

  assert {
    condition     = !aws_db_instance.key.multi_az && !aws_db_instance.msg.multi_az
    error_message = "The databases are in one zone."
  }

  assert {
    condition     = aws_ecs_service.web.desired_count == 1 && aws_ecs_service.web.deployment_minimum_healthy_percent == 0 && aws_ecs_service.web.deployment_maximum_percent == 100
    error_message = "One task whose ports are free only once it has stopped."
  }
}

run "databases" {
  command = plan

  assert {
    condition     = alltrue([for database in [aws_db_instance.key, aws_db_instance.msg] : database.storage_encrypted && !database.publicly_accessible && database.deletion_protection])
    error_message = "Both are encrypted, private and protected."
  }

  assert {
    condition     = aws_db_instance.msg.backup_retention_period == 0 && aws_db_instance.msg.skip_final_snapshot
    error_message = "Nothing of the msg-db outlives its notes."
  }

  assert {
    condition     = aws_db_instance.key.backup_retention_period == 7 && !aws_db_instance.key.skip_final_snapshot
    error_message = "The key-db is kept."
  }

  assert {
    condition     = aws_db_instance.key.db_name == "key_db" && aws_db_instance.msg.db_name == "msg_db"
    error_message = "The databases have the names that the migrations expect."
  }
}

run "nobody_may_log_in_from_outside" {
  command = plan

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ssh) == 0
    error_message = "No SSH unless asked for."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.public : rule.from_port]) == toset([80, 443])
    error_message = "The world reaches ports 80 and 443."
  }
}

run "ssh_where_asked_for" {
  command = plan

  variables {
    ssh_cidr_blocks = ["203.0.113.7/32"]
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.ssh : rule.cidr_ipv4] == ["203.0.113.7/32"]
    error_message = "SSH from exactly what was asked for."
  }
}

run "a_name_in_dns" {
  command = plan

  variables {
    domain_name    = "notes.example.org"
    hosted_zone_id = "Z0123456789ABCDEFGHIJ"
  }

  assert {
    condition     = output.url == "https://notes.example.org"
    error_message = "Links start with the name."
  }

  assert {
    condition     = aws_route53_record.web[0].name == "notes.example.org" && aws_route53_record.web[0].type == "A"
    error_message = "The name is entered in the zone."
  }

  assert {
    condition     = length(aws_acm_certificate.web) == 0
    error_message = "The single server's certificate is nginx's, not the load balancer's."
  }
}

run "another_build" {
  command = plan

  variables {
    image_tag = "3f9d2c1"
  }

  assert {
    condition     = output.image_tag == "3f9d2c1"
    error_message = "image_tag chooses the build."
  }
}

run "graviton" {
  command = plan

  variables {
    instance_type = "t4g.micro"
  }

  assert {
    condition     = endswith(aws_launch_template.web.image_id, "/amazon-linux-2023/arm64/recommended/image_id") && output.platform == "linux/arm64"
    error_message = "A Graviton instance starts from Amazon's image for arm64, and the images are built for it."
  }
}

run "not_graviton" {
  command = plan

  variables {
    instance_type = "g4dn.xlarge"
  }

  assert {
    condition     = endswith(aws_launch_template.web.image_id, "/amazon-linux-2023/recommended/image_id") && output.platform == "linux/amd64"
    error_message = "A g elsewhere in the name does not make an instance a Graviton."
  }
}
