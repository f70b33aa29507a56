# What an operator has to be told before it is too late. Without alarm_topic_arn the alarms only show in CloudWatch.

locals {
  alarm_actions = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]

  # 64^5 keys rest for 60 days after their lease. At this rate they come back just as fast as they are used.
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

resource "aws_cloudwatch_log_metric_filter" "refused" {
  name           = "${var.name}-refused"
  log_group_name = aws_cloudwatch_log_group.container["nginx"].name
  pattern        = "{ $.status = 507 }"

  metric_transformation {
    namespace = var.name
    name      = "RefusedForSpace"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "refused" {
  alarm_name        = "${var.name}-refused"
  alarm_description = "The msg-db has reached MAX_STORED_BYTES, and puts are refused. Reveals continue."

  namespace   = aws_cloudwatch_log_metric_filter.refused.metric_transformation[0].namespace
  metric_name = aws_cloudwatch_log_metric_filter.refused.metric_transformation[0].name
  statistic   = "Sum"
  period      = 300

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
}

resource "aws_cloudwatch_log_metric_filter" "puts" {
  name           = "${var.name}-puts"
  log_group_name = aws_cloudwatch_log_group.container["nginx"].name
  pattern        = "{ $.method = \"POST\" && $.route = \"/post\" && $.status = 201 }"

  metric_transformation {
    namespace = var.name
    name      = "Puts"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "keys" {
  alarm_name        = "${var.name}-keys"
  alarm_description = "Clients put notes faster than keys come back. If this lasts, the keys run out."

  namespace   = aws_cloudwatch_log_metric_filter.puts.metric_transformation[0].namespace
  metric_name = aws_cloudwatch_log_metric_filter.puts.metric_transformation[0].name
  statistic   = "Sum"
  period      = 86400

  comparison_operator = "GreaterThanThreshold"
  threshold           = local.puts_a_day_for_ever
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"

  alarm_actions = local.alarm_actions
  ok_actions    = local.alarm_actions
}
