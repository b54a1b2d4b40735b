#!/usr/bin/env bash
# rust-src.sh: gives the toolchain of scripts/rust.sh the sources of core and alloc, which cargo compiles for the device. rustup has
# them (`rustup component add rust-src`). Where it cannot load them they come from Debian's package rust-web-src, which is of 1.96:
# the three places in which nightly 1.97 (2026-05-19) expects something newer of core are changed. core and alloc can be built from
# that, std for a bare target cannot. A file `origin` beside them says where they are from; figures name it.
#
# Safe to run again. Needs root for apt-get. cargo does not notice when these sources are exchanged: delete target/ then.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh

need_nightly
library=$(rust_library)
[ ! -f "$library/core/src/lib.rs" ] || exit 0
if rustup component add rust-src --toolchain "${NIGHTLY#+}"; then exit 0; fi

echo "rust-src: not from rustup; Debian's rust-web-src instead"
if ! dpkg -s rust-web-src >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "rust-src: needs root on Debian, or rustup component add rust-src --toolchain ${NIGHTLY#+}" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rust-web-src
fi
version=$(dpkg-query --show --showformat '${Version}' rust-web-src)
new=$library.new
rm -rf "$library" "$new"
mkdir -p "$(dirname "$new")"
cp -r "/usr/src/rustc-${version%%[+-]*}/library" "$new"

python3 - "$new" <<'PY'
import pathlib, sys

library = pathlib.Path(sys.argv[1])

def change(path, old, new):
    file = library / path
    text = file.read_text()
    if old not in text:
        sys.exit(f"rust-src: {path} is not the version this script knows")
    file.write_text(text.replace(old, new, 1))

# The lang item is called drop_glue since 1.97 and takes a reference; drop_in_place calls it.
change("core/src/ptr/mod.rs",
       '#[lang = "drop_in_place"]\n#[allow(unconditional_recursion)]\n',
       '')
change("core/src/ptr/mod.rs",
       "unsafe { drop_in_place(to_drop) }\n}\n",
       "unsafe { drop_glue(&mut *to_drop) }\n}\n\n"
       "/// Replaced by the compiler with the drop glue of `T`.\n"
       '#[lang = "drop_glue"]\n#[allow(unconditional_recursion)]\n'
       '#[rustc_const_unstable(feature = "const_drop_in_place", issue = "109342")]\n'
       "pub(crate) const unsafe fn drop_glue<T: PointeeSized>(to_drop: &mut T)\nwhere\n    T: [const] Destruct,\n{\n"
       "    // SAFETY: never executed.\n    unsafe { drop_glue(to_drop) }\n}\n")
# CoerceShared names its target as a parameter since 1.97.
change("core/src/ops/reborrow.rs", "pub trait CoerceShared: Reborrow {", "pub trait CoerceShared<Target: Copy>: Reborrow {")
change("core/src/ops/reborrow.rs", "    /// The type of this value when reborrowed as shared.\n    type Target: Copy;\n", "")
# NonNull gets its niche from a pattern type; the attribute is gone.
change("core/src/ptr/non_null.rs", "#[rustc_layout_scalar_valid_range_start(1)]\n", "")
change("core/src/ptr/non_null.rs", "    pointer: *const T,\n", "    pointer: crate::pattern_type!(*const T is !null),\n")
PY
echo "Debian's rust-web-src $version" >"$new/origin"
mv "$new" "$library"
echo "rust-src: from Debian's rust-web-src $version"
