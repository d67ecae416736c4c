"""What tells methods apart, and words for it: `rand-k 1 %, residual`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..configs import canonical, describe, flatten, number

RATIO = "compressor.ratio"
COMPRESSOR = "compressor.kind"
VARIABLES = "compressor.variables"
"""Made up here: which of x, y, z are compressed."""


def features(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and leaves of a config, without seed and name.

    Compressors that are the same on all compressed variables stand as one, beside the made-up
    key `compressor.variables`.
    """
    plain = canonical(config)
    compressor = plain.pop("compressor", None)
    flat = flatten(plain)
    if not isinstance(compressor, Mapping):
        return flat
    parts = {v: compressor.get(v) for v in "xyz"} if "kind" not in compressor else {}
    if not parts:
        parts = dict.fromkeys("xyz", compressor)
    used = {
        v: p for v, p in parts.items() if isinstance(p, Mapping) and p.get("kind") != "identity"
    }
    flat[VARIABLES] = ", ".join(used) or "none"
    distinct = list(used.values())
    if not distinct:
        flat[COMPRESSOR] = "identity"
    elif all(part == distinct[0] for part in distinct):
        flat |= flatten(distinct[0], "compressor.")
    else:
        flat |= flatten(compressor, "compressor.")
        flat[COMPRESSOR] = describe(compressor)
    return flat


def telling(keys: Sequence[str], cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys that vary, but for those that merely go with a kind, as a top-k's bits."""
    varying = [key for key in keys if len({repr(case.get(key)) for case in cases}) > 1]
    kinds = [key for key in varying if key.endswith(".kind")]
    found = []
    for key in varying:
        values: dict[tuple[str, ...], set[str]] = {}
        for case in cases:
            of_kinds = tuple(repr(case.get(kind)) for kind in kinds)
            values.setdefault(of_kinds, set()).add(repr(case.get(key)))
        if key in (*kinds, RATIO) or any(len(of_kinds) > 1 for of_kinds in values.values()):
            found.append(key)
    return found


def words(key: str, value: Any) -> str:  # noqa: ANN401
    """A setting in a few words: `ratio 10 %`, `on x`."""
    if key == VARIABLES:
        return f"on {value}"
    if key.endswith(".kind"):
        return f"no {key.split('.')[-2]}" if value == "none" else number(value)
    if key.endswith(".ratio"):
        return f"ratio {_percent(value)}"
    return f"{key.rsplit('.', 1)[-1].replace('_', ' ')} {number(value)}"


def phrase(settings: Mapping[str, Any], keys: Sequence[str], compressor: str = "") -> list[str]:
    """Words of the settings that there are; a ratio stands with the `compressor`, if known."""
    known = [key for key in keys if settings.get(key) is not None]
    found = []
    for key in known:
        if key == RATIO and compressor:
            found.append(f"{compressor} {_percent(settings[key])}")
        elif not (key == COMPRESSOR and compressor and RATIO in known):
            found.append(words(key, settings[key]))
    return found


def phrases(
    heads: Sequence[str], cases: Sequence[tuple[Mapping[str, Any], Sequence[str], str]]
) -> list[str]:
    """A text for each case (settings, keys, compressor) after its head, which may be empty.

    What a method has none of, such as `no feedback`, goes unsaid unless two texts would be equal
    or one empty without it.
    """
    full = [_joined(head, phrase(*case)) for head, case in zip(heads, cases, strict=True)]
    short = [
        _joined(head, phrase(settings, [k for k in keys if not _is_none(settings, k)], compressor))
        for head, (settings, keys, compressor) in zip(heads, cases, strict=True)
    ]
    return short if all(short) and len(set(short)) == len(set(full)) else full


def _joined(head: str, rest: Sequence[str]) -> str:
    return ", ".join([head, *rest] if head else rest)


def _is_none(settings: Mapping[str, Any], key: str) -> bool:
    return key.endswith(".kind") and settings.get(key) == "none"


def _percent(value: Any) -> str:  # noqa: ANN401
    """A ratio, which is a share."""
    return f"{100 * value:.3g} %" if isinstance(value, (int, float)) else number(value)
