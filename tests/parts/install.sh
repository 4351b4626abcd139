#!/usr/bin/env bash
# Installs the real programs that the tests start, pinned, each only when missing.
# usage: install.sh [tests|peers|recorders]      target: $PORTREEVE_PARTS, or $XDG_CACHE_HOME/portreeve/parts
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
parts=${PORTREEVE_PARTS:-${XDG_CACHE_HOME:-$HOME/.cache}/portreeve/parts}
bin=$parts/bin
stamps=$parts/.stamps
mkdir -p "$bin" "$stamps"
export GOFLAGS=-trimpath CGO_ENABLED=0

# A part is there when its stamp carries the wanted version and its program runs from the cache.
missing() { # program version
  [ -x "$bin/$1" ] && [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ] && return 1
  echo "parts: installing $1 $2" >&2
}
stamp() { echo "$2" >"$stamps/$1"; }

go_install() { # program version package
  missing "$1" "$2" || return 0
  # The program may be called otherwise upstream.
  local built=$parts/.go-install
  rm -rf "$built"
  GOBIN=$built go install -ldflags "-s -w" "$3@$2"
  mv "$built"/* "$bin/$1"
  rmdir "$built"
  stamp "$1" "$2"
}

go_file() { # file version module path
  [ -f "$parts/share/$1" ] && [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ] && return 0
  local source
  source=$(go mod download -json "$3@$2" | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
  install -D -m 644 "$source/$4" "$parts/share/$1"
  stamp "$1" "$2"
}

go_module() { # program version folder package [ldflags]
  missing "$1" "$2" || return 0
  (cd "$here/$3" && go build -mod=readonly -ldflags "-s -w ${5:-}" -o "$bin/$1" "$4")
  stamp "$1" "$2"
}

apt_program() { # program debian-package [path]
  local path=${3:-}
  [ -n "$path" ] || path=$(command -v "$1" || true)
  if [ -z "$path" ] || [ ! -x "$path" ]; then
    echo "parts: installing $1 (Debian package $2)" >&2
    [ -n "${apt_updated:-}" ] || { apt-get update -qq; apt_updated=1; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
    path=${3:-$(command -v "$1")}
  fi
  ln -sf "$path" "$bin/$1"
}

npm_program() { # program version package
  missing "$1" "$2" || return 0
  npm install --silent --no-audit --no-fund --prefix "$parts/npm/$1" "$3@$2"
  ln -sf "$parts/npm/$1/node_modules/.bin/$1" "$bin/$1"
  stamp "$1" "$2"
}

python_package() { # package version module
  [ -d "$parts/python/$3" ] && [ "$(cat "$stamps/python-$1" 2>/dev/null)" = "$2" ] && return 0
  echo "parts: installing $1 $2" >&2
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade --no-deps \
    --target "$parts/python" "$1==$2"
  stamp "python-$1" "$2"
}

cargo_program() { # program version
  missing "$1" "$2" || return 0
  cargo install --quiet --locked --root "$parts" --target-dir "$parts/cargo-target" "$1@$2"
  rm -rf "$parts/cargo-target"
  stamp "$1" "$2"
}

tests() {
  local kubernetes=v1.37.2
  local version="-X k8s.io/component-base/version.gitVersion=$kubernetes"
  apt_program promtool prometheus
  apt_program docker-registry docker-registry
  go_module ociregistry 0.22.1 go ./ociregistry
  go_install crane v0.22.1 github.com/google/go-containerregistry/cmd/crane
  go_module etcd v3.7.3 etcd go.etcd.io/etcd/server/v3
  go_module kube-apiserver $kubernetes k8s k8s.io/kubernetes/cmd/kube-apiserver "$version"
  go_module kube-controller-manager $kubernetes k8s k8s.io/kubernetes/cmd/kube-controller-manager "$version"
  go_module kubemark $kubernetes k8s k8s.io/kubernetes/cmd/kubemark "$version"
  go_install cosign v3.1.3 github.com/sigstore/cosign/v3/cmd/cosign
  go_install fulcio v1.8.8 github.com/sigstore/fulcio
  go_install timestamp-server v2.1.3 github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server
  go_install rekor-tiles-posix v2.3.0 github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix
  go_module ctlog 1 go ./ctlog
  go_module oidcissuer 1 go ./oidcissuer
  go_install helm v4.3.1 helm.sh/helm/v4/cmd/helm
  go_install sops v3.13.3 github.com/getsops/sops/v3/cmd/sops
  go_install age v1.3.2 filippo.io/age/cmd/age
  go_install age-keygen v1.3.2 filippo.io/age/cmd/age-keygen
  apt_program postgres postgresql /usr/lib/postgresql/15/bin/postgres
  apt_program initdb postgresql /usr/lib/postgresql/15/bin/initdb
  npm_program sarif-multitool 5.7.0 @microsoft/sarif-multitool
  python_package prometheus-client 0.26.0 prometheus_client
  cargo_program cargo-deny 0.20.2
}

peers() {
  go_install kube-score v1.20.0 github.com/zegl/kube-score/cmd/kube-score
}

# What makes records for tests that start nothing: Rekor v1. About ten minutes of compiling.
recorders() {
  go_install trillian_log_server v1.7.3 github.com/google/trillian/cmd/trillian_log_server
  go_install trillian_log_signer v1.7.3 github.com/google/trillian/cmd/trillian_log_signer
  go_file trillian.sql v1.7.3 github.com/google/trillian storage/postgresql/schema/storage.sql
  go_install rekor-server v1.5.4 github.com/sigstore/rekor/cmd/rekor-server
  apt_program psql postgresql-client
}

"${1:-tests}"
