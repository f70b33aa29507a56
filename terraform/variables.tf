# What an operator may set. Only `fellow_name` has no default: the key pair is theirs.

variable "fellow_name" {
  description = "Prefix of the EC2 key pair: \"mw\" if the key file is named mw-IAM-keypair.pem."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", var.fellow_name))
    error_message = "fellow_name is the part before \"-IAM-keypair\" in the key pair's name: letters, digits, \".\", \"_\" and \"-\". It is not the file name and has no path."
  }

  validation {
    condition     = !endswith(var.fellow_name, "-IAM-keypair") && !endswith(var.fellow_name, ".pem")
    error_message = "fellow_name is the prefix alone: for mw-IAM-keypair.pem give \"mw\"."
  }
}

variable "name" {
  description = "Prefix of every resource's name, so that one account can hold several installations."
  type        = string
  default     = "note-whisperer"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name takes 3 to 24 lower-case letters, digits and single hyphens, and starts with a letter: load balancers and databases allow no more."
  }

  validation {
    condition     = !can(regex("^(aws|ssm|ecs|fargate|internal-|sg-)|^default$", var.name))
    error_message = "name must not be \"default\" or start with \"aws\", \"ssm\", \"ecs\", \"fargate\", \"internal-\" or \"sg-\": AWS keeps these names of parameters, capacity providers, load balancers and security groups for itself."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "us-west-2"

  validation {
    condition     = can(regex("^[a-z]{2,3}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region takes a region's code, such as us-west-2; an availability zone (us-west-2a) is not one."
  }
}

variable "image_tag" {
  description = "Tag of the three images to run. Default: the version in setup.cfg. Tags are immutable: a new build needs a new one."
  type        = string
  default     = null

  validation {
    condition     = var.image_tag == null || can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag))
    error_message = "image_tag takes 1 to 128 letters, digits, \"_\", \".\" and \"-\", and does not start with \".\" or \"-\"."
  }

  validation {
    condition     = var.image_tag != "latest"
    error_message = "image_tag names one build for ever; \"latest\" would be another one after each push. Use a version or a commit."
  }
}

variable "high_availability" {
  description = "Load balancer, several instances in two zones, Multi-AZ databases, deployments without downtime. False: the single server within the free tier."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.high_availability || var.domain_name != null
    error_message = "high_availability needs domain_name: the load balancer's certificate is for this name."
  }

  validation {
    condition     = !var.high_availability || (var.hosted_zone_id == null) != (var.certificate_arn == null)
    error_message = "high_availability needs either hosted_zone_id (a certificate is made and renewed, and the address is entered in DNS) or certificate_arn (you do both yourself), but not both of them."
  }

  validation {
    condition     = var.high_availability ? var.tls_certificate == null : var.certificate_arn == null
    error_message = "certificate_arn is for the load balancer of high_availability, tls_certificate for the single server's nginx."
  }
}

variable "domain_name" {
  description = "Name under which the service is reached, such as notes.example.org. Default: the single server's IP address."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain_name))
    error_message = "domain_name takes a full host name in lower case, such as notes.example.org: no https://, no path, no port."
  }
}

variable "hosted_zone_id" {
  description = "Route 53 zone that holds domain_name: its address record, and with high availability its certificate, are made there."
  type        = string
  default     = null

  validation {
    condition     = var.hosted_zone_id == null || can(regex("^[A-Z0-9]{4,32}$", var.hosted_zone_id))
    error_message = "hosted_zone_id takes the zone's id, such as Z0123456789ABCDEFGHIJ, not its name."
  }

  validation {
    condition     = var.hosted_zone_id == null || var.domain_name != null
    error_message = "hosted_zone_id says where domain_name is entered: set domain_name too."
  }
}

variable "certificate_arn" {
  description = "ACM certificate for domain_name, in place of one made through hosted_zone_id. High availability only."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn takes the ARN of an ACM certificate: arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }
}

variable "tls_certificate" {
  description = "Certificate chain and private key (PEM) of the single server: ARNs of two secrets in Secrets Manager or Parameter Store. Default: nginx makes a self-signed one."
  type = object({
    certificate_arn = string
    key_arn         = string
  })
  default = null

  validation {
    condition = var.tls_certificate == null || alltrue([
      for arn in try([var.tls_certificate.certificate_arn, var.tls_certificate.key_arn], []) :
      can(regex("^arn:aws[a-z-]*:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/).+$", arn))
    ])
    error_message = "tls_certificate takes the ARNs of two secrets: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME or arn:aws:ssm:REGION:ACCOUNT:parameter/NAME."
  }

  validation {
    condition     = var.tls_certificate == null || var.domain_name != null
    error_message = "tls_certificate needs domain_name: the name that the certificate is for."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC; its four subnets take a sixteenth each."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(cidrsubnet(var.vpc_cidr, 4, 15)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 22, false)
    error_message = "vpc_cidr takes an IPv4 network from /16 to /22, such as 10.0.0.0/16."
  }

  validation {
    # Containers get 172.17.0.0/16 from Docker; an overlap would send them nowhere.
    condition     = try(!startswith(cidrhost(var.vpc_cidr, 0), "172.17."), true)
    error_message = "vpc_cidr must not overlap 172.17.0.0/16: Docker gives it to the containers."
  }
}

variable "ssh_cidr_blocks" {
  description = "IPv4 networks that may reach the instances by SSH, with the key pair. Default: none."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for block in var.ssh_cidr_blocks : can(cidrnetmask(block))])
    error_message = "ssh_cidr_blocks takes IPv4 networks, such as [\"203.0.113.7/32\"]."
  }

  validation {
    condition     = !anytrue([for block in var.ssh_cidr_blocks : try(tonumber(split("/", block)[1]) < 8, false)])
    error_message = "ssh_cidr_blocks must not be the whole internet: name your own network, such as 203.0.113.7/32."
  }
}

variable "instance_type" {
  description = "EC2 instance type of the web servers, x86-64 or Graviton. t2.micro is within the free tier."
  type        = string
  default     = "t2.micro"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type takes a type such as t2.micro, t3.small or t4g.small."
  }

  validation {
    condition     = !endswith(var.instance_type, ".nano")
    error_message = "instance_type needs 1 GiB of memory: t2.micro or larger."
  }
}

variable "instance_count" {
  description = "Web servers with high availability, spread over two zones."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.instance_count >= 2 && var.instance_count <= 20 && floor(var.instance_count) == var.instance_count
    error_message = "instance_count takes a whole number from 2 to 20; a single server is high_availability = false."
  }
}

variable "database_instance_class" {
  description = "RDS instance class of both databases."
  type        = string
  default     = "db.t4g.micro"

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.database_instance_class))
    error_message = "database_instance_class takes an RDS class, such as db.t4g.micro."
  }
}

variable "key_db_backup_days" {
  description = "Days that the key-db's automatic backups are kept. (The msg-db has none: database.tf says why.)"
  type        = number
  default     = 7

  validation {
    condition     = var.key_db_backup_days >= 1 && var.key_db_backup_days <= 35 && floor(var.key_db_backup_days) == var.key_db_backup_days
    error_message = "key_db_backup_days takes 1 to 35. Without a backup, a lost key-db would hand out old keys again."
  }
}

variable "deletion_protection" {
  description = "Whether the databases, and with high availability the load balancer, refuse to be deleted. Set to false and apply before `terraform destroy`."
  type        = bool
  default     = true
  nullable    = false
}

variable "password_version" {
  description = "Raise it by one to give every database role a new password."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.password_version >= 1 && floor(var.password_version) == var.password_version
    error_message = "password_version takes a whole number from 1; raise it to rotate."
  }
}

variable "key_count" {
  description = "Keys that the KGS writes. Default: all 64^5."
  type        = number
  default     = null

  validation {
    condition     = var.key_count == null || try(var.key_count >= 256 && var.key_count <= 1073741824 && floor(var.key_count) == var.key_count, false)
    error_message = "key_count takes a whole number from 256 to 1073741824 (64^5, the default)."
  }
}

variable "max_message_bytes" {
  description = "Longest message, in bytes of UTF-8."
  type        = number
  default     = 65536
  nullable    = false

  validation {
    condition     = var.max_message_bytes >= 1 && var.max_message_bytes <= 16777216 && floor(var.max_message_bytes) == var.max_message_bytes
    error_message = "max_message_bytes takes a whole number from 1 to 16777216, as the server does."
  }
}

variable "max_file_bytes" {
  description = "Most bytes that the files of one note may have together; 0 turns files off."
  type        = number
  default     = 100000000
  nullable    = false

  validation {
    condition     = var.max_file_bytes >= 0 && var.max_file_bytes <= 1073741824 && floor(var.max_file_bytes) == var.max_file_bytes
    error_message = "max_file_bytes takes a whole number from 0 to 1073741824, as the server does."
  }
}

variable "log_retention_days" {
  description = "Days that CloudWatch keeps logs."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days takes one of the periods that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 … Logs are not kept for ever."
  }
}

variable "storage_gib" {
  description = "GiB of disk of each database. Puts are refused when the msg-db has four fifths of it."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.storage_gib >= 20 && var.storage_gib <= 59575 && var.storage_gib % 5 == 0
    error_message = "storage_gib takes a multiple of 5 from 20, the minimum of RDS, to 59575."
  }
}

variable "max_storage_gib" {
  description = "GiB that RDS may make each disk grow to by itself, if something other than notes fills it."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.max_storage_gib <= 65536 && floor(var.max_storage_gib) == var.max_storage_gib
    error_message = "max_storage_gib takes a whole number up to 65536."
  }

  validation {
    condition     = var.max_storage_gib * 10 >= var.storage_gib * 11
    error_message = "max_storage_gib must be at least a tenth larger than storage_gib, as RDS requires."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic that alarms notify: disks that fill, puts that are refused, and keys that run out (alarms.tf)."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn takes the ARN of an SNS topic, such as arn:aws:sns:us-west-2:123456789012:alarms."
  }
}
