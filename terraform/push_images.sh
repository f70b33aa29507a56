#!/bin/sh
# Builds the three images and pushes them to ECR; what is there under the tag already stays as it is.
# Needs Docker and the AWS CLI. `make push` makes the repositories first and calls this.
#
# usage: push_images.sh REGISTRY TAG PLATFORM
#     REGISTRY: ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME
#     PLATFORM: of the instances, linux/amd64 or linux/arm64, whatever this machine is
# environment: RDS_BUNDLE_SHA256, the SHA-256 of Amazon's RDS authorities (docs/deploying.md)
set -eu

registry=$1 tag=$2 platform=$3
host=${registry%%/*} name=${registry#*/}
region=$(echo "$host" | cut -d . -f 4)
cd "$(dirname "$0")/.."

: "${RDS_BUNDLE_SHA256:?docs/deploying.md says how to find it}"

for program in aws docker; do
    command -v $program >/dev/null || { echo "push_images: $program is missing" >&2; exit 1; }
done

aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$host"

for image in server kgs nginx; do
    if aws ecr describe-images --region "$region" --repository-name "$name/$image" \
        --image-ids "imageTag=$tag" >/dev/null 2>&1; then
        echo "push_images: $image:$tag is there already"
        continue
    fi
    docker build --platform "$platform" --target "$image" --tag "$registry/$image:$tag" \
        --build-arg DATABASE_AUTHORITIES=rds --build-arg "RDS_BUNDLE_SHA256=$RDS_BUNDLE_SHA256" \
        --build-arg "VERSION=$tag" --build-arg "REVISION=$(git rev-parse HEAD)" .
    docker push "$registry/$image:$tag"
done
