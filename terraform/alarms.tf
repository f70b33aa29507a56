# What the operator must know in time. Without alarm_topic_arn, the alarms only show in CloudWatch.

locals {
  alarm_actions = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]

  # 64^5 keys rest for 60 days after their lease. At this rate, they come back as fast as they are used.
  puts_a_day_for_ever = floor(pow(64, 5) / 61)
}

resource "aws_cloudwatch_metric_alarm" "storage" {
  for_each = { key-db = aws_db_instance.key, msg-db = aws_db_instance.msg }

  alarm_name        = "${var.name}-${each.key}-storage"
  alarm_description = "Less than a quarter of storage_gib is free on the disk of the ${each.key}."

  namespace   = "AWS/RDS"
  metric_name = "FreeStorageSpace"
  dimensions  = { DBInstanceIdentifier = each.value.identifier }
  statistic   = "Minimum"
  period      = 300

  comparison_operator = "LessThanThreshold"
  threshold           = var.storage_gib * pow(1024, 3) / 4
  evaluation_periods  = 3
  treat_missing_data  = "missing"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
}

locals {
  # Each counts lines of nginx's log.
  log_alarms = {
    refused = {
      description = "The msg-db has reached MAX_STORED_BYTES, and puts are refused. Reveals continue."
      pattern     = "{ $.status = 507 }"
      metric      = "RefusedForSpace"
      period      = 300
      threshold   = 0
    }
    keys = {
      description = "Clients put notes faster than keys come back. If this lasts, the keys run out."
      pattern     = "{ $.method = \"POST\" && $.route = \"/post\" && $.status = 201 }"
      metric      = "Puts"
      period      = 86400
      threshold   = local.puts_a_day_for_ever
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "log" {
  for_each = local.log_alarms

  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.container["nginx"].name
  pattern        = each.value.pattern

  metric_transformation {
    namespace = var.name
    name      = each.value.metric
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "log" {
  for_each = local.log_alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = each.value.description

  namespace   = var.name
  metric_name = each.value.metric
  statistic   = "Sum"
  period      = each.value.period

  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
}
