#!/usr/bin/env bash
# Makes a fresh Debian 12 machine ready to build, test and demonstrate Sluicegate: Debian packages, the Python
# environment of the tests' oracles, node-media-server, and everything that scripts/fetch_assets.py fetches. Safe to run again: what is
# there already is left alone, and then it takes less than a second.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 69; }

# Fills `wanted` (names) and `versions` (name -> lowest version) from scripts/apt-packages.txt.
declare -a wanted=()
declare -A versions=()
read_package_list() {
    local name relation version
    while read -r name relation version; do
        [[ -n $name ]] || continue
        # A Node from elsewhere brings its own npm and keeps Debian's away.
        if [[ $name == nodejs || $name == npm ]] && command -v node >/dev/null && command -v npm >/dev/null; then continue; fi
        wanted+=("$name")
        if [[ $relation == '>=' ]]; then versions[$name]=$version; fi
    done < <(sed 's/#.*//' scripts/apt-packages.txt)
}

# Fills `installed` (name -> version) for the wanted packages that are.
declare -A installed=()
read_installed() {
    installed=()
    local name status version
    while read -r name status version; do
        if [[ $status == ii* ]]; then installed[$name]=$version; fi
    done < <(dpkg-query --show --showformat '${Package} ${db:Status-Abbrev} ${Version}\n' "${wanted[@]}" 2>/dev/null || true)
}

install_packages() {
    local -a as_root=() missing=()
    local name
    for name in "${wanted[@]}"; do
        if [[ -z ${installed[$name]-} ]]; then missing+=("$name"); fi
    done
    if ((${#missing[@]} == 0)); then return; fi

    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "these Debian packages are missing, and there is neither root nor sudo to" \
            "install them: ${missing[*]}. Run as root: apt-get update && apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "Installing ${#missing[@]} Debian packages (a few minutes on a fresh machine): ${missing[*]}"
    "${as_root[@]}" apt-get update -qq || fail "apt-get update failed: is this machine online?"

    # Installing nginx or prometheus must not start them: the demo and the tests start their own, on free ports.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        # shellcheck disable=SC2064 # expanded now on purpose
        trap "${as_root[*]} rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}" >assets/apt.log 2>&1 ||
        { tail -n 20 assets/apt.log >&2; fail "apt-get install failed; the whole of its output is in assets/apt.log"; }
    if [[ -n $(trap -p EXIT) ]]; then
        "${as_root[@]}" rm -f "$policy"
        trap - EXIT
    fi
    # Nor may they start by themselves at the next boot, unless they were here before.
    if [[ -d /run/systemd/system ]]; then
        for name in nginx prometheus; do
            if [[ " ${missing[*]} " == *" $name "* ]]; then "${as_root[@]}" systemctl disable --quiet "$name" || true; fi
        done
    fi
    read_installed
}

check_versions() {
    local name
    for name in "${!versions[@]}"; do
        dpkg --compare-versions "${installed[$name]:-0}" ge "${versions[$name]}" ||
            fail "Debian package $name is ${installed[$name]:-missing}, and ${versions[$name]} or newer is needed:" \
                "Sluicegate is built and tested on Debian 12 (bookworm)"
    done
}

# make_venv FOLDER REQUIREMENTS WHAT SDISTS...: a Python environment of exactly these packages, and of those in the files SDISTS, of
# which no wheel is published.
make_venv() {
    local folder=$1 requirements=$2 what=$3 stamp=$1/.requirements sdist
    local -a sdists=("${@:4}")
    if cmp -s <(cat "$requirements" "${sdists[@]}") "$stamp" && "$folder/bin/python" -c '' 2>/dev/null; then
        return
    fi
    say "Making $folder: $what"
    rm -rf "$folder"
    /usr/bin/python3 -m venv "$folder"
    local -a pip=("$folder/bin/python" -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps)
    "${pip[@]}" --only-binary=:all: -r "$requirements" || fail "pip could not install $requirements:" \
        "is this machine online, and does its package index carry these versions?"
    # No wheel is published of these: compiled here, with the build tools that the line above has pinned.
    for sdist in "${sdists[@]}"; do
        PATH=$PWD/$folder/bin:$PATH "${pip[@]}" --no-build-isolation -r "$sdist" ||
            fail "pip could not build $sdist: see the compiler's message above"
    done
    cat "$requirements" "${sdists[@]}" >"$stamp"
}

# Installs exactly what scripts/node/package-lock.json says, checked by its digests; no script of a package is run.
make_node() {
    local folder=assets/node stamp=assets/node/.package-lock
    if cmp -s scripts/node/package-lock.json "$stamp" && [[ -f $folder/node_modules/node-media-server/bin/app.js ]]; then
        return
    fi
    say "Making $folder: the media server of node-media-server's tests (12 MB)"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp scripts/node/package.json scripts/node/package-lock.json "$folder"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >assets/npm.log 2>&1 ||
        { tail -n 20 assets/npm.log >&2; fail "npm ci failed: is this machine online, and does its registry carry these versions?"; }
    cp scripts/node/package-lock.json "$stamp"
}

[[ $(uname -s)/$(uname -m) == Linux/x86_64 ]] || fail "only Linux on x86_64 can be set up so far, and this is" \
    "$(uname -s) on $(uname -m)"
command -v dpkg-query >/dev/null || fail "this is no Debian: install what scripts/apt-packages.txt lists by hand"
command -v cargo >/dev/null || fail "cargo is missing: install Rust with rustup, then open a new shell"

mkdir -p assets
exec 9>assets/.lock
flock 9
read_package_list
read_installed
install_packages
check_versions
# Runs fetch_assets.py and the oracles of the tests (PDQ, picture scaling, inference).
make_venv assets/venv scripts/requirements.txt \
    "the Python packages that tests compare with (120 MB to download, 460 MB on disk)" scripts/requirements-sdist.txt
assets/venv/bin/python scripts/fetch_assets.py
make_node
if [[ ${1:-} == bench ]]; then
    make_venv assets/bench-venv scripts/requirements-bench.txt "the peers that benches compare with (90 MB to download)" \
        scripts/requirements-sdist.txt scripts/requirements-bench-sdist.txt
fi
