#!/bin/sh
# Builds the Dockerfile's three targets where no registry can be reached: on a base made of Debian packages, which
# gets the names that the Dockerfile pins. As root, with buildah and debootstrap; test_built_images.py runs it.
# usage: tests/deploy/build_images.sh WORKING_FOLDER
set -eu

repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$1
suite=trixie
# Where this machine gets its own packages.
mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Component: main' | grep -v security | head -n 1)

# Nothing of the machine's own images is touched.
export STORAGE_DRIVER=vfs TMPDIR="$work/tmp"
mkdir "$TMPDIR"
buildah() {
    command buildah --root "$work/storage" --runroot "$work/run" "$@"
}
# The stand-ins have the pinned names, but no pinned digest.
pinned() {
    sed -n "s/^FROM \(.*\)@sha256:.* AS $1-base/\1/p" "$repository/Dockerfile"
}
# Package clients inside use the network and the certificate authorities of this machine.
build() {
    buildah build --isolation chroot --network host --format docker \
        --volume /etc/ssl/certs/ca-certificates.crt:/run/authorities.crt:ro \
        --volume "$work/pip.conf:/etc/pip.conf:ro" "$@"
}

printf '[global]\ncert = /run/authorities.crt\n' >"$work/pip.conf"
debootstrap --variant=minbase "$suite" "$work/debian" "$mirror"
echo force-unsafe-io >"$work/debian/etc/dpkg/dpkg.cfg.d/unsafe-io" # nothing here survives a power cut
rm -rf "$work/debian/var/cache/apt/archives" "$work/debian/var/lib/apt/lists"
mkdir -p "$work/debian/var/cache/apt/archives/partial"

# What the official images have and the Dockerfile relies on; nginx's entrypoint is run by its name only.
cat >"$work/Dockerfile" <<'END'
FROM scratch
COPY debian/ /
RUN groupadd --system --gid 101 nginx && useradd --system --gid nginx --uid 101 --no-create-home nginx \
    && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-pip \
        nginx-light libnginx-mod-stream gettext-base curl ca-certificates openssl \
    && rm -rf /var/lib/apt/lists/* && ln -s python3 /usr/bin/python \
    && mkdir -p /docker-entrypoint.d && touch /docker-entrypoint.d/20-envsubst.sh \
    && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
COPY --chmod=0755 entrypoint /docker-entrypoint.sh
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore
END
cat >"$work/entrypoint" <<'END'
#!/bin/sh
# What the official image's entrypoint does with /docker-entrypoint.d and /etc/nginx/templates.
set -eu
for file in /docker-entrypoint.d/*; do
    case $file in
    *.envsh) . "$file" ;;
    */20-*) cd /etc/nginx/templates && find . -name '*.template' | while read -r template; do
        mkdir -p "/etc/nginx/conf.d/$(dirname "$template")"
        names=$(awk 'BEGIN { for (name in ENVIRON) if (name ~ ENVIRON["NGINX_ENVSUBST_FILTER"]) printf "${%s} ", name }')
        envsubst "$names" <"$template" >"/etc/nginx/conf.d/${template%.template}"
    done ;;
    *.sh) "$file" ;;
    esac
done
exec "$@"
END
build --tag "localhost/$(pinned python)" --tag "localhost/$(pinned nginx)" --file "$work/Dockerfile" "$work"

sed 's/@sha256:[0-9a-f]*//' "$repository/Dockerfile" >"$work/Dockerfile.images"
for target in server kgs nginx; do
    build --pull-never --file "$work/Dockerfile.images" --target "$target" --tag "localhost/note-whisperer/$target" \
        --build-arg "VERSION=$(sed -n 's/^version = //p' "$repository/setup.cfg")" \
        --build-arg "REVISION=$(git -C "$repository" rev-parse HEAD)" \
        --build-arg "CREATED=$(git -C "$repository" log -1 --format=%cI)" "$repository"
done
