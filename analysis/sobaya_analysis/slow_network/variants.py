"""The table of variants, and the config of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

DENSE = "dense"
COMPRESSED = "compressed"

SHARED = ("rand-k", "rand-block")
"""Compressors whose packets can be summed if all workers share one support."""


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    label: str
    """The method, the same for each way down and each compressor of y and z."""
    downlink: str | None
    """dense or compressed; None where the method leaves no choice, as for y and z."""
    y_z: str | None
    config: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """All variants, with the names of the two that the others are compared to."""

    variants: tuple[Variant, ...]
    baseline: str
    floor: str


def read_table(path: Path, root: Path, only: str = "*") -> Table:
    """The table in a file; the config it builds on is named relative to `root`.

    `only` is a pattern of names; the two that the others are compared to are always there.
    """
    table = json.loads(path.read_text())
    base = json.loads((root / table["base"]).read_text())
    variants = [
        _variant(base, one["name"], one["label"], None, None, one["set"]) for one in table["single"]
    ]
    for method in table["methods"]:
        for downlink in method.get("downlinks", [DENSE, COMPRESSED]):
            for y_z, compressor in table["y_z"].items():
                parts = method["set"] | _travel(method, downlink, compressor, table["server_x"])
                name = f"{method['name']}.{downlink}.{y_z}"
                variants.append(_variant(base, name, method["label"], downlink, y_z, parts))
    always = (table["baseline"], table["floor"])
    chosen = (v for v in variants if v.name in always or fnmatchcase(v.name, only))
    return Table(tuple(chosen), *always)


def _variant(
    base: Mapping[str, Any],
    name: str,
    label: str,
    downlink: str | None,
    y_z: str | None,
    parts: Mapping[str, Any],
) -> Variant:
    config = {**base, **parts, "name": f"slow-network-{name}"}
    config["algorithm"] = {**base["algorithm"], **parts["algorithm"]}
    return Variant(name, label, downlink, y_z, config)


def _travel(
    method: Mapping[str, Any], downlink: str, y_z: Mapping[str, Any], server_x: Mapping[str, Any]
) -> dict[str, Any]:
    """The keys that say how vectors travel."""
    up = {"x": method["x"], "y": y_z, "z": y_z}
    if downlink == DENSE:
        return {"compressor": up}
    if method["compressed_downlink"] == "sum":
        ordered = all(is_summable(compressor) for compressor in up.values())
        collective = "segments" if ordered else "star"
        return {
            "compressor": up,
            "downlink": {"kind": "sum"},
            "wire": {"collective": collective},
        }
    down = {"x": server_x, "y": y_z, "z": y_z}
    return {"compressor": up, "downlink": {"kind": "difference", "compressor": down}}


def is_summable(compressor: Mapping[str, Any]) -> bool:
    """Whether packets of this compressor can be summed in segments, by all ranks."""
    kind = compressor["kind"]
    return kind == "identity" or (kind in SHARED and compressor.get("shared", False))
