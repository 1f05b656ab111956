#!/usr/bin/env bash
# Installs the clients of test_conformance.py: the AWS CLI v2, the AWS SDKs for JavaScript and Java (boto3 comes with
# bulkedit), and the browser that opens the report page. Does nothing that is done already. Needs Debian or a kin of it,
# and the right to install packages if one is missing.
#
# npm and Maven install fixed versions: of npm's packages package-lock.json has the hashes, of the Java archives
# java/dependency.sha256. Maven's own plugins have fixed versions only. Debian's packages are those of the release: apt
# proves their signatures, and older versions leave Debian's servers, so they cannot be fixed.
set -euo pipefail
cd "$(dirname "$0")"

# a CLI of version 1 may stand first on the path
cli_v2() {
    local aws
    while read -r aws; do
        case $("$aws" --version 2>&1 </dev/null) in aws-cli/2*) return 0 ;; esac
    done < <(type -ap aws)
    return 1
}

packages=()
cli_v2 || packages+=(awscli)
command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)
command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v mvn >/dev/null || packages+=(maven)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || packages+=(chromium fonts-dejavu-core)
if [ ${#packages[@]} -gt 0 ]; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${packages[@]}" >/dev/null
fi

# npm leaves its own copy of the lock file in what it has installed
if ! [ javascript/node_modules/.package-lock.json -nt javascript/package-lock.json ]; then
    npm ci --prefix javascript --silent --no-audit --no-fund
fi

jar=java/target/use-cases.jar
if ! [ "$jar" -nt java/pom.xml ] || ! [ "$jar" -nt java/src/main/java/UseCases.java ]; then
    mvn --file java/pom.xml --batch-mode --quiet --strict-checksums -Dstyle.color=never package
fi
# exactly these archives, before any is run; after a change of versions: sha256sum *.jar >../../dependency.sha256
(cd java/target/dependency && export LC_ALL=C && sha256sum -- *.jar | diff ../../dependency.sha256 - >&2) || {
    echo "tests/clients/java/target/dependency holds other archives than tests/clients/java/dependency.sha256 names" >&2
    exit 1
}
