#!/bin/sh
# Where TLS ends here and there is no certificate yet, makes one that nobody has signed: enough to try the
# service, and to have TLS until a real certificate is put in its place. Runs after site.envsh.
set -eu

if [ "$SITE_MODE" != tls ] || [ -e "$SITE_TLS_CERTIFICATE" ]; then
    exit 0
fi

host=$(echo "${PUBLIC_URL:-}" | sed -n 's|^https\{0,1\}://\([^/:]*\).*|\1|p')
case ${host:=localhost} in
*[!0-9.]*) names=DNS:$host ;;
*) names=IP:$host ;;
esac
names=$names,DNS:localhost,IP:127.0.0.1

umask 077
# As long as browsers take one from an authority that their user has added.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
    -subj "/CN=note-whisperer, self-signed" -addext "subjectAltName=$names" \
    -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth \
    -keyout "$SITE_TLS_CERTIFICATE_KEY" -out "$SITE_TLS_CERTIFICATE.unfinished" 2>/dev/null
chmod 644 "$SITE_TLS_CERTIFICATE.unfinished"
mv "$SITE_TLS_CERTIFICATE.unfinished" "$SITE_TLS_CERTIFICATE"
echo "nginx: made a self-signed certificate, $SITE_TLS_CERTIFICATE"
