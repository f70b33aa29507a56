# Every variable that can be wrong says so before anything is planned.

variables {
  fellow_name = "mw"
}

run "each_bad_value_is_refused" {
  command = plan

  variables {
    fellow_name             = "~/.ssh/mw"
    name                    = "Note Whisperer"
    region                  = "us-west-2a"
    image_tag               = "latest"
    domain_name             = "https://notes.example.org/"
    certificate_arn         = "notes.pem"
    vpc_cidr                = "10.0.0.0/8"
    ssh_cidr_blocks         = ["0.0.0.0/0"]
    instance_type           = "micro"
    instance_count          = 1
    database_instance_class = "t4g.micro"
    key_db_backup_days      = 0
    password_version        = 0
    key_count               = 0
    max_message_bytes       = 0
    max_file_bytes          = -1
    log_retention_days      = 0
    storage_gib             = 21
    alarm_topic_arn         = "alarms"
  }

  expect_failures = [
    var.fellow_name,
    var.name,
    var.region,
    var.image_tag,
    var.domain_name,
    var.certificate_arn,
    var.vpc_cidr,
    var.ssh_cidr_blocks,
    var.instance_type,
    var.instance_count,
    var.database_instance_class,
    var.key_db_backup_days,
    var.password_version,
    var.key_count,
    var.max_message_bytes,
    var.max_file_bytes,
    var.log_retention_days,
    var.storage_gib,
    var.alarm_topic_arn,
  ]
}

run "what_is_almost_right" {
  command = plan

  variables {
    fellow_name     = "mw-IAM-keypair"
    name            = "internal-notes"
    storage_gib     = 100
    max_storage_gib = 105
    domain_name     = "notes.example.org"
    hosted_zone_id  = "example.org"
    tls_certificate = { certificate_arn = "certificate.pem", key_arn = "key.pem" }
  }

  expect_failures = [var.fellow_name, var.name, var.max_storage_gib, var.hosted_zone_id, var.tls_certificate]
}

run "a_balancers_certificate_without_a_balancer" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:us-west-2:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [var.high_availability]
}

run "a_network_that_docker_uses" {
  command = plan

  variables {
    vpc_cidr        = "172.17.0.0/16"
    instance_type   = "t2.nano"
    max_storage_gib = 100.5
    hosted_zone_id  = "Z0123456789ABCDEFGHIJ"
    tls_certificate = {
      certificate_arn = "arn:aws:ssm:us-west-2:123456789012:parameter/certificate"
      key_arn         = "arn:aws:ssm:us-west-2:123456789012:parameter/key"
    }
  }

  expect_failures = [
    var.vpc_cidr,
    var.instance_type,
    var.max_storage_gib,
    var.hosted_zone_id,  # without a domain_name
    var.tls_certificate, # likewise
  ]
}

run "high_availability_without_a_name" {
  command = plan

  variables {
    high_availability = true
  }

  expect_failures = [var.high_availability]
}

run "high_availability_without_a_certificate" {
  command = plan

  variables {
    high_availability = true
    domain_name       = "notes.example.org"
  }

  expect_failures = [var.high_availability]
}

run "high_availability_with_two_certificates" {
  command = plan

  variables {
    high_availability = true
    domain_name       = "notes.example.org"
    hosted_zone_id    = "Z0123456789ABCDEFGHIJ"
    certificate_arn   = "arn:aws:acm:us-west-2:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [var.high_availability]
}
