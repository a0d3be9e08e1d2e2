#!/bin/sh
# Checks what libfsocket.so shows to the processes it is loaded into: exactly the symbols that the
# version script names, no library but libc, and no use of the allocator or of the Swift runtime.
#
#   check-symbols.sh libfsocket.so libfsocket.map
set -eu
library=$1
map=$2
failed=0

wanted=$(sed -e 's|/\*.*\*/||' "$map" | tr -d ' \n' | sed -e 's/.*global:\(.*\)local:.*/\1/' |
  tr ';' '\n' | grep -v '^$' | sort)
# Lower-case types are local symbols that the dynamic linker needs for relocations.
exported=$(nm -D --defined-only "$library" | awk '$2 ~ /[A-Z]/ { print $3 }' | sort)
if [ "$wanted" != "$exported" ]; then
  echo "exported symbols are not those of $map:"
  printf '%s\n' "$wanted" > "/tmp/fsocket-symbols.$$"
  printf '%s\n' "$exported" | diff "/tmp/fsocket-symbols.$$" - || true
  rm -f "/tmp/fsocket-symbols.$$"
  failed=1
fi

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
  grep -v -e '^libc\.so\.6$' -e '^ld-linux' || true)
if [ -n "$needed" ]; then
  echo "needs more than libc: $needed"
  failed=1
fi

forbidden=$(nm -D --undefined-only "$library" | awk '{ print $2 }' |
  grep -E '^(malloc|calloc|realloc|free|posix_memalign|aligned_alloc|swift_|_swift)' || true)
if [ -n "$forbidden" ]; then
  echo "must not use: $forbidden"
  failed=1
fi
exit $failed
