#!/bin/sh
# Install what the tests want from the system, when we are root on a system with apt-get. Anywhere else it only says what
# is missing: tests that need it skip, and say so at the end of their run. Nothing here is needed to use the product.
set -u
packages=
missing=

want() { # want PACKAGE WHAT-FOR TEST…
    package=$1
    reason=$2
    shift 2
    "$@" > /dev/null 2>&1 && return
    packages="$packages $package"
    missing="$missing
  $package ($reason)"
}

compiles() { printf '#include <dlfcn.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null -; }

want gcc "the fault library of the crash tests" command -v cc
want libc6-dev "the fault library of the crash tests" compiles
want strace "tests that count system calls" command -v strace
want util-linux "tests that mount file systems and drop rights" command -v setpriv

[ -z "$packages" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "not installed, because we are not root with apt-get here:$missing"
    exit 0
fi
echo "installing from the system's packages:$packages"
log=$(mktemp)
# shellcheck disable=SC2086
if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages; } \
    > "$log" 2>&1 < /dev/null; then
    echo "that failed, so tests that need them are skipped:$missing"
fi
rm -f "$log"
exit 0
