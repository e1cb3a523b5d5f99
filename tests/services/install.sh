# Where the scripts beside this one keep what they install, and how: into target/services, once.
cache="${CARGO_TARGET_DIR:-$here/../../target}/services"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"
work="$(mktemp -d "$cache/run.XXXXXX")"

say() { printf 'services: %s\n' "$*" >&2; }

# Installs packages of Debian where the commands of their names are missing: debian PACKAGE…
debian() {
    local package missing=()
    for package in "$@"; do
        case "$package" in
            python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=("$package") ;;
            openmpi-bin) command -v mpirun >/dev/null || missing+=("$package") ;;
            libopenmpi-dev) mpicc -E -include mpi.h -x c /dev/null >/dev/null 2>&1 || missing+=("$package") ;;
            libclang-dev) compgen -G '/usr/lib/llvm-*/lib/libclang.so' >/dev/null || missing+=("$package") ;;
            *) command -v "$package" >/dev/null || missing+=("$package") ;;
        esac
    done
    if [ ${#missing[@]} = 0 ]; then return; fi
    say "installing ${missing[*]}"
    local root=()
    if [ "$(id -u)" != 0 ]; then root=(sudo -n); fi
    if ! { "${root[@]}" apt-get update && "${root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$work/apt.log" 2>&1; then
        tail -n 20 "$work/apt.log" >&2
        say "could not install ${missing[*]}; on another system than Debian, install them and run this again"
        exit 1
    fi
}

# Installs Python packages once, into a place of their own: pip PLACE PACKAGE…
pip() {
    local place="$cache/$1"
    shift
    if [ "$(cat "$place/.installed" 2>/dev/null)" = "$*" ]; then return; fi
    say "installing $*"
    # An installation that was broken off may have a Python without pip, so each begins anew.
    python3 -m venv --clear "$place"
    "$place/bin/python" -m pip install --quiet "$@"
    printf '%s' "$*" >"$place/.installed"
}
