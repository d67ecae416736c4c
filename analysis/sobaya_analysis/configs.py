"""Compare and name configurations: canonical form, dotted keys, labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

Config = Mapping[str, Any]

FREE_KEYS = ("seed", "name")
"""Keys in which the runs of one group may differ."""

_FIRST = ("problem.", "algorithm.kind", "compressor.", "algorithm.", "partition.", "topology.")
_MAX_KEYS = 4
_MAX_LABEL = 72


def canonical(config: Config) -> dict[str, Any]:
    """Config without seed and name; whole numbers as int; equal x, y, z compressors as one."""
    plain = {key: _plain(value) for key, value in config.items() if key not in FREE_KEYS}
    if "compressor" in plain:
        plain["compressor"] = _collapse(plain["compressor"])
    return plain


def fingerprint(config: Config) -> str:
    """Text that is equal for two configs that differ only in seed, name and spelling."""
    return json.dumps(canonical(config), sort_keys=True)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _collapse(compressor: Any) -> Any:  # noqa: ANN401
    if isinstance(compressor, dict) and compressor and set(compressor) <= {"x", "y", "z"}:
        parts = list(compressor.values())
        if len(parts) == 3 and parts[0] == parts[1] == parts[2]:
            return parts[0]
    return compressor


def flatten(config: Config, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of all leaves. Lists are leaves; null and empty objects count as absent."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def lookup(config: Config, dotted: str) -> Any:  # noqa: ANN401
    """Value under a dotted key, None where any part of it is absent."""
    value: Any = config
    for part in dotted.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def distinguishing_keys(flats: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """Shortest set of dotted keys whose values tell all configs apart.

    The kind of algorithm is always in it if it varies; among sets of equal length the one
    with the more telling keys wins. None if more than four keys would be needed.
    """
    names = {name for flat in flats for name in flat}
    varying = [
        name for name in sorted(names, key=_rank) if len({repr(f.get(name)) for f in flats}) > 1
    ]
    fixed = [name for name in varying if name == "algorithm.kind"]
    others = [name for name in varying if name not in fixed][:30]
    for size in range(_MAX_KEYS + 1 - len(fixed)):
        for chosen in combinations(others, size):
            keys = sorted((*fixed, *chosen), key=_rank)
            if len({tuple(repr(f.get(key)) for key in keys) for f in flats}) == len(flats):
                return tuple(keys)
    return None


def _rank(name: str) -> tuple[int, int, str]:
    place = next((i for i, first in enumerate(_FIRST) if name.startswith(first)), len(_FIRST))
    return place, 0 if name.endswith(".kind") else 1, name


def labels(configs: Sequence[Config], names: Sequence[str]) -> list[str]:
    """One distinct label per config (one per group); `names` are used if no short one exists."""
    flats = [flatten(canonical(config)) | _by_variable(config) for config in configs]
    keys = distinguishing_keys(flats)
    if keys:
        texts = [_label(flat, keys) for flat in flats]
    elif keys == () and "algorithm.kind" in flats[0]:
        texts = [str(flats[0]["algorithm.kind"])]
    else:
        texts = list(names)
    texts = [printable(text) or "run" for text in texts]
    distinct: list[str] = []
    for text in texts:
        again = sum(other == text for other in texts[: len(distinct)])
        distinct.append(f"{text} #{again + 1}" if again else text)
    return distinct


def _by_variable(config: Config) -> dict[str, str]:
    """One word for compressors that differ by variable, as `rand-k on x`; identity goes unsaid."""
    compressor = canonical(config).get("compressor")
    if not isinstance(compressor, Mapping) or "kind" in compressor:
        return {}
    variables: dict[str, list[str]] = {}
    for variable, part in compressor.items():
        kind = part.get("kind") if isinstance(part, Mapping) else None
        if kind not in (None, "identity"):
            variables.setdefault(str(kind), []).append(str(variable))
    return {
        "compressor.kind": "; ".join(f"{kind} on {', '.join(on)}" for kind, on in variables.items())
    }


def _label(flat: Mapping[str, Any], keys: Sequence[str]) -> str:
    short = [key.rsplit(".", 1)[-1] for key in keys]
    parts = []
    for key, last in zip(keys, short, strict=True):
        if key not in flat:
            continue
        value = number(flat[key])
        if last == "kind":
            parts.append(value)
        else:
            parts.append(f"{key if short.count(last) > 1 else last} {value}")
    return ", ".join(parts) if parts else "no " + " or ".join(keys)


def number(value: Any) -> str:  # noqa: ANN401
    """A leaf as text: true/false as in JSON, floats with up to six digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def printable(text: str, limit: int = _MAX_LABEL) -> str:
    """Text from a file on one line, without control characters, at most `limit` long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def common_name(names: Iterable[str]) -> str:
    """What the names of runs that differ by seed have in common: a-seed1, a-seed2 -> a."""
    names = list(names)
    shared = names[0]
    for name in names[1:]:
        while not name.startswith(shared):
            shared = shared[:-1]
    if len(set(names)) > 1:
        stem = shared.rstrip("0123456789").rstrip("-_./ ")
        for suffix in ("seed", "s"):
            cut = stem.removesuffix(suffix)
            if cut != stem and cut.endswith(("-", "_", ".", "/", " ")):
                stem = cut.rstrip("-_./ ")
        shared = stem
    return shared or names[0]


def describe(part: Any) -> str:  # noqa: ANN401
    """One line for an object with a kind: `rand-k ratio 0.1`; per variable if x, y, z differ."""
    if part is None:
        return "none"
    part = _collapse(_plain(part))
    if not isinstance(part, Mapping):
        return printable(number(part))
    if part and set(part) <= {"x", "y", "z"}:
        return "; ".join(f"{key}: {describe(value)}" for key, value in part.items())
    words = [number(part["kind"])] if "kind" in part else []
    for key, value in part.items():
        if key == "kind" or value is None:
            continue
        text = f"({describe(value)})" if isinstance(value, Mapping) else number(value)
        words.append(f"{key} {text}")
    return printable(" ".join(words), 160)
