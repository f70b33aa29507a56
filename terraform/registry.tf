# The repositories of the three images. Push the images before the first full apply (docs/deploying.md).

resource "aws_ecr_repository" "image" {
  # checkov:skip=CKV_AWS_136:The images hold no secret; AES-256 with ECR's own key costs nothing.
  for_each = toset(["server", "kgs", "nginx"])

  name = "${var.name}/${each.key}"

  # A tag names one build for ever: what was tested is what runs, and a rollback finds it again.
  image_tag_mutability = "IMMUTABLE"

  # An image can be built again from its commit; without this `terraform destroy` would stop half-way.
  force_delete = true

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "image" {
  for_each = aws_ecr_repository.image

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Enough builds to roll back to"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 }
      action       = { type = "expire" }
    }]
  })
}

# Stops an apply that would start images which nobody has pushed. Terraform quotes the first line.
data "aws_ecr_image" "pushed" { # not found: no such image_tag in ECR; run `make push`, then apply again
  for_each = aws_ecr_repository.image

  repository_name = each.value.name
  image_tag       = local.image_tag
}

locals {
  image = {
    for name, repository in aws_ecr_repository.image :
    name => "${repository.repository_url}:${data.aws_ecr_image.pushed[name].image_tag}"
  }
}
