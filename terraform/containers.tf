# What runs in the tasks: limits, hardening and logs of all containers, and the web task's own.

locals {
  # Hard limits in MiB. Everything that may run at once on the single server, including an update's migration or a
  # later run of the KGS, must fit into what a t2.micro registers: about 950, less ECS_RESERVED_MEMORY.
  # nginx derives its limits of connections and requests from its memory (nginx/site.envsh).
  memory = { server = 384, nginx = 160, certificate = 16, kgs = 320, migrate = 128 }

  log_configuration = {
    for name, group in aws_cloudwatch_log_group.container : name => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = group.name
        awslogs-region        = var.region
        awslogs-stream-prefix = name
        # A full buffer drops lines of log; without it a slow CloudWatch would stop the program.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }

  # Of the disk as it is, not as it may grow: RDS waits for five minutes before it makes a disk larger,
  # and six hours until the next time. Clients who put files fill it faster than that.
  max_stored_bytes = var.storage_gib * pow(1024, 3) * 4 / 5

  # The image's ports, because it may not use those below 1024 everywhere.
  nginx_port = { http = 8000, https = 8443 }

  # How long the server (its default) and nginx may take to complete requests.
  drain_seconds = 25

  # What all containers have in common: a read-only root, no way to more rights, no core dumps
  # (they would hold messages).
  hardened = {
    essential              = true
    privileged             = false
    readonlyRootFilesystem = true
    linuxParameters = {
      initProcessEnabled = true
      capabilities       = { drop = ["ALL"] }
      tmpfs              = [{ containerPath = "/tmp", size = 16, mountOptions = ["noexec", "nosuid", "nodev"] }]
    }
    ulimits = [
      { name = "core", softLimit = 0, hardLimit = 0 },
      { name = "nofile", softLimit = 16384, hardLimit = 16384 },
    ]
  }

  server_container = merge(local.hardened, {
    name              = "server"
    image             = local.image["server"]
    memory            = local.memory["server"]
    memoryReservation = 256

    environment = [for name, value in {
      HOST              = "0.0.0.0"
      PORT              = "8080"
      PROCESSES         = "1" # a t2.micro has one core
      PUBLIC_URL        = local.url
      TRUSTED_PROXIES   = local.bridge_cidr
      MAX_MESSAGE_BYTES = tostring(var.max_message_bytes)
      MAX_FILE_BYTES    = tostring(var.max_file_bytes)
      MAX_STORED_BYTES  = tostring(local.max_stored_bytes)
      DRAIN_SECONDS     = tostring(local.drain_seconds)
      LOG_FORMAT        = "json"
    } : { name = name, value = value }]

    secrets = [
      { name = "KEY_DB_URL", valueFrom = aws_ssm_parameter.url["web_key_db"].arn },
      { name = "MSG_DB_URL", valueFrom = aws_ssm_parameter.url["web_msg_db"].arn },
    ]

    # ECS reads secrets when a container starts: a new password makes a new revision, and that new tasks.
    dockerLabels = { "password-version" = tostring(var.password_version) }

    # ECS ignores the image's own.
    healthCheck = {
      command     = ["CMD", "python", "-m", "server", "health"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }

    stopTimeout      = local.drain_seconds + 15
    logConfiguration = local.log_configuration["server"]
  })

  nginx_container = merge(local.hardened, {
    name              = "nginx"
    image             = local.image["nginx"]
    memory            = local.memory["nginx"]
    memoryReservation = 48

    # Stopped in reverse: nginx finishes what it has begun while the server still answers.
    dependsOn = concat(
      [{ containerName = "server", condition = "HEALTHY" }],
      [for container in ["certificate"] : { containerName = container, condition = "SUCCESS" } if var.tls_certificate != null],
    )
    links       = ["server"]
    stopTimeout = 95 # nginx.conf's worker_shutdown_timeout and a little

    # With a load balancer any free port will do, and two tasks fit on one instance during an update.
    portMappings = (
      var.high_availability
      ? [{ containerPort = local.nginx_port.http, hostPort = 0, protocol = "tcp" }]
      : [for host, container in { 80 = local.nginx_port.http, 443 = local.nginx_port.https } : { containerPort = container, hostPort = tonumber(host), protocol = "tcp" }]
    )

    environment = [for name, value in {
      TLS               = var.high_availability ? "off" : "on"
      HTTP_PORT         = tostring(local.nginx_port.http)
      HTTPS_PORT        = tostring(local.nginx_port.https)
      BALANCERS         = var.high_availability ? join(",", [for subnet in aws_subnet.public : subnet.cidr_block]) : ""
      UPSTREAMS         = "server:8080"
      PROCESSES         = "1"
      PUBLIC_URL        = local.url
      MAX_MESSAGE_BYTES = tostring(var.max_message_bytes)
      MEMORY            = tostring(local.memory["nginx"])
    } : { name = name, value = value }]

    mountPoints = local.tls_mounts

    # nginx's own port for operators, which is not published.
    healthCheck = {
      command     = ["CMD", "curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8090/healthz"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 15
    }

    logConfiguration = local.log_configuration["nginx"]
  })

  # Where nginx looks for its certificate. Without tls_certificate it signs one itself, at its first start.
  tls_mounts = [for volume in ["tls"] : { sourceVolume = volume, containerPath = "/etc/nginx/tls", readOnly = false } if !var.high_availability]

  # Runs before nginx and ends: ECS passes secrets as variables, and nginx needs files.
  certificate_container = merge(local.hardened, {
    name       = "certificate"
    image      = local.image["nginx"]
    essential  = false
    memory     = local.memory["certificate"]
    entryPoint = ["sh", "-euc"]
    command    = ["umask 077; cd /etc/nginx/tls; printf '%s\\n' \"$CERTIFICATE\" >certificate.pem; printf '%s\\n' \"$KEY\" >key.pem"]

    secrets = [for name, arn in {
      CERTIFICATE = try(var.tls_certificate.certificate_arn, null)
      KEY         = try(var.tls_certificate.key_arn, null)
    } : { name = name, valueFrom = arn }]

    mountPoints      = local.tls_mounts
    logConfiguration = local.log_configuration["nginx"]
  })
}
