# Three images from one file: --target server, kgs or nginx.
#
# Bases are pinned by full version and by the digest of the list for all platforms. They are in lines of their own,
# and not in an ARG, so that Dependabot raises both. The server's PostgreSQL for laptops (requirements/local.txt) is
# in none of the images.
#
# No registry was at hand on 2026-11-25. These digests are the newest that several public repositories named for these
# images by then: Python's as of 9 October, nginx's as of 3 October (so without Debian's fix of CVE-2026-103111 in
# PCRE2, which takes a crafted regular expression; those of nginx/ are fixed).
FROM python:3.13.16-slim-trixie@sha256:70729b46c69b4f1e97c4822c1af3df53a1476cf5ddc6c087c0c10bc3a5678c2f AS python-base
FROM nginx:1.30.5@sha256:b972f831f200b19ef0767938224f9711e74cd783718738cd7405d5cabf75c442 AS nginx-base


# Wheels, from the hash-checked locks. What comes as source only is built here, with a pinned setuptools.
FROM python-base AS wheels
WORKDIR /wheels
COPY requirements/build.txt requirements/
RUN python -m pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt
COPY requirements/server.txt requirements/kgs.txt requirements/
RUN python -m pip wheel --no-cache-dir --no-deps --require-hashes --no-build-isolation \
        --wheel-dir server -r requirements/server.txt \
    && python -m pip wheel --no-cache-dir --no-deps --require-hashes --no-build-isolation \
        --find-links server --wheel-dir kgs -r requirements/kgs.txt


# Certificate authorities of a managed database, for sslmode=verify-full.
FROM python-base AS authorities
ARG DATABASE_AUTHORITIES=none
ARG RDS_BUNDLE_SHA256=
ARG RDS_BUNDLE=https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
WORKDIR /authorities
RUN case "${DATABASE_AUTHORITIES}:${RDS_BUNDLE_SHA256}" in \
    none:*) ;; \
    rds:) \
        echo "DATABASE_AUTHORITIES=rds needs --build-arg RDS_BUNDLE_SHA256=… as well: the SHA-256 of the file" >&2; \
        echo "${RDS_BUNDLE} as you have fetched and looked at it (curl … | sha256sum)." >&2; \
        exit 1 ;; \
    rds:*) \
        python -c "import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])" "${RDS_BUNDLE}" rds.pem \
        && echo "${RDS_BUNDLE_SHA256}  rds.pem" >/tmp/sums \
        && sha256sum --check --strict /tmp/sums \
        && chmod 0644 rds.pem ;; \
    *) \
        echo "DATABASE_AUTHORITIES takes none or rds" >&2; \
        exit 1 ;; \
    esac


# The common part of server and kgs: a user, the code, and nothing that they could write to.
FROM python-base AS application
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/app \
    LOG_FORMAT=json
WORKDIR /app
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
        note-whisperer
COPY --from=authorities /authorities/ /etc/ssl/note-whisperer/
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="note-whisperer" \
      org.opencontainers.image.description="Messages that destroy themselves: read once, then gone." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
STOPSIGNAL SIGTERM


FROM application AS kgs
RUN --mount=type=bind,from=wheels,source=/wheels/kgs,target=/wheels \
    python -m pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
COPY server/ server/
COPY kgs/ kgs/
RUN python -m compileall -q server kgs
USER 10001:10001
HEALTHCHECK NONE
CMD ["python", "-m", "kgs", "seed", "--all"]


FROM application AS server
RUN --mount=type=bind,from=wheels,source=/wheels/server,target=/wheels \
    python -m pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
COPY static/ static/
COPY templates/ templates/
COPY server/ server/
RUN python -m compileall -q server
# One process per core, on ports from 8080, unless PROCESSES and the other settings of the README say otherwise.
ENV HOST=0.0.0.0 \
    PORT=8080 \
    PROCESSES=0
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "server", "health"]
CMD ["python", "-m", "server"]


# Static files and error pages, compressed, with the list of their fingerprints.
FROM nginx-base AS published
COPY static/ /source/static/
COPY nginx/ /source/nginx/
RUN /source/nginx/publish /source /published/www /published/fingerprints.map


FROM nginx-base AS nginx
COPY nginx/nginx.conf /etc/nginx/nginx.conf
COPY nginx/snippets/ /etc/nginx/snippets/
COPY nginx/templates/ /etc/nginx/templates/
COPY --chmod=0755 nginx/site.envsh /docker-entrypoint.d/19-site.envsh
COPY --chmod=0755 nginx/self-signed.sh /docker-entrypoint.d/21-self-signed.sh
COPY --from=published /published/fingerprints.map /etc/nginx/
COPY --from=published /published/www/ /usr/share/note-whisperer/
# The start renders into /tmp: the only place that must be writable, except the volume of a certificate that the first
# start makes.
RUN rm -rf /etc/nginx/conf.d \
    && ln -s /tmp/conf.d /etc/nginx/conf.d \
    && install --directory --owner=101 --group=101 --mode=0700 /etc/nginx/tls
# The server's 8080 stays free: in a pod both have one network.
ENV NGINX_ENVSUBST_FILTER=^SITE_ \
    HTTP_PORT=8000 \
    HTTPS_PORT=8443 \
    OPERATIONS_LISTEN=8090
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="note-whisperer, nginx" \
      org.opencontainers.image.description="nginx as note-whisperer needs it: TLS, limits, static files." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 101:101
EXPOSE 8000 8443
# Completes the requests in progress. The base image has the same line.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8090/healthz"]
CMD ["nginx", "-g", "daemon off; pid /tmp/nginx.pid;"]
