#!/usr/bin/env python3
"""Make the small MNIST subset that is built into the program.

SOURCE_DIR holds the four MNIST files, raw or .gz, as `get-data.sh mnist DIR` leaves them in
DIR/mnist. DEST_DIR (the project's is src/data/mnist-small) gets 6,000 training and 1,000 test
images of them with their labels, as .gz files.

Which images: each class gets a share of the total proportional to its count in the source file,
rounded by largest remainder (ties to the lower class), so that the totals are exact. Of a class
with n images, k are taken, evenly spaced: those at positions (2j + 1) * n // (2k), j = 0..k-1, of
the class's images in the source's order. The images taken keep the source's order.

The same source gives the same bytes with the same zlib; another zlib may compress differently, so
the printed SHA-256 sums are those of the decompressed files.
"""

import argparse
import gzip
import hashlib
import os
import struct
import sys
import zlib
from pathlib import Path

CLASSES = 10
SIDE = 28
IMAGES_MAGIC = 0x00000803
LABELS_MAGIC = 0x00000801

# Part, images taken, SHA-256 of the source's images and labels.
PARTS = [
    (
        "train",
        6_000,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    (
        "t10k",
        1_000,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
]


def read_source(folder: Path, name: str, sha256: str) -> bytes:
    """Return the contents of the raw or gzip'd file, after checking that it is MNIST's."""
    raw, packed = folder / name, folder / f"{name}.gz"
    if raw.exists():
        path, data = raw, raw.read_bytes()
    elif packed.exists():
        path, data = packed, gzip.decompress(packed.read_bytes())
    else:
        raise ValueError(f"neither {raw} nor {packed} is there: fill the folder with get-data.sh")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path} is not MNIST's file (wrong checksum)")
    return data


def shares(counts: list[int], total: int) -> list[int]:
    """Split `total` in proportion to `counts`, by largest remainder."""
    whole = sum(counts)
    result = [count * total // whole for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda c: (-(counts[c] * total % whole), c))
    for c in by_remainder[: total - sum(result)]:
        result[c] += 1
    return result


def choose(labels: bytes, total: int) -> list[int]:
    """Return the indices of the images to take, ascending."""
    members = [[i for i, label in enumerate(labels) if label == c] for c in range(CLASSES)]
    taken = []
    for c, k in enumerate(shares([len(group) for group in members], total)):
        group = members[c]
        taken += [group[(2 * j + 1) * len(group) // (2 * k)] for j in range(k)]
    return sorted(taken)


def gzip_bytes(data: bytes) -> bytes:
    """Compress with a fixed header: no name, no time, unknown system."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    body = deflate.compress(data) + deflate.flush()
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


def write(folder: Path, name: str, data: bytes) -> None:
    packed = gzip_bytes(data)
    unfinished = folder / f".{name}.unfinished"
    unfinished.write_bytes(packed)
    os.replace(unfinished, folder / f"{name}.gz")
    print(f"{name}.gz {len(packed)} bytes, contents {len(data)} bytes")
    print(f"  sha256 of contents {hashlib.sha256(data).hexdigest()}")


def make(source: Path, dest: Path) -> None:
    made = []
    for part, want, images_sha256, labels_sha256 in PARTS:
        images_name, labels_name = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        images = read_source(source, images_name, images_sha256)
        pixels = memoryview(images)[16:]
        labels = read_source(source, labels_name, labels_sha256)[8:]
        size = SIDE * SIDE
        taken = choose(labels, want)
        made.append(
            (
                images_name,
                struct.pack(">IIII", IMAGES_MAGIC, want, SIDE, SIDE)
                + b"".join(pixels[i * size : (i + 1) * size] for i in taken),
            )
        )
        kept_labels = bytes(labels[i] for i in taken)
        made.append((labels_name, struct.pack(">II", LABELS_MAGIC, want) + kept_labels))
        counts = [kept_labels.count(c) for c in range(CLASSES)]
        print(f"{part}: {want} of {len(labels)}, by class: {' '.join(map(str, counts))}")
    dest.mkdir(parents=True, exist_ok=True)
    for name, data in made:
        write(dest, name, data)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE_DIR", type=Path)
    parser.add_argument("dest", metavar="DEST_DIR", type=Path)
    args = parser.parse_args()
    try:
        make(args.source, args.dest)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
