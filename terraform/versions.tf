# Ephemeral resources and write-only arguments, which keep passwords out of plan and state,
# need Terraform 1.11. State is local until backend.tf.example is copied to backend.tf.
terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
