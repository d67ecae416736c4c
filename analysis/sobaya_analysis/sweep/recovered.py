"""How much of the way from one bound to another each method makes, such as no to clean labels."""

from __future__ import annotations

import math

from . import text
from .experiment import OF_A_METHOD, Cell, Experiment, merged_steps
from .numbers import Band, Measure, band, final, final_band, score
from .part import Choices, Part, Table


def bounds_of(cell: Cell, experiment: Experiment) -> tuple[Cell, Cell] | None:
    """The two bounds with all settings of the cell that do not belong to the method."""
    found = []
    for name in experiment.scale or ():
        fitting = (
            bound
            for bound in experiment.bounds
            if bound.name == name
            and all(
                bound.settings[key] == value
                for key, value in cell.settings.items()
                if not key.startswith(OF_A_METHOD)
            )
        )
        found.append(next(fitting, None))
    origin, goal = found if len(found) == 2 else (None, None)
    return (origin, goal) if origin and goal else None


def recovered(cell: Cell, experiment: Experiment, measure: Measure) -> Band | None:
    """Band over the seeds of (own - origin) / (goal - origin), all three of the same seed.

    A run that diverged counts as minus infinity. Seeds without both bounds, or at which these are
    equal, have no such share.
    """
    bounds = bounds_of(cell, experiment)
    if bounds is None:
        return None
    origins, goals = ({m.seed: final(m, measure) for m in bound.members} for bound in bounds)
    shares = []
    for member in cell.members:
        origin, goal = origins.get(member.seed), goals.get(member.seed)
        own = final(member, measure)
        if own is None or origin is None or goal is None:
            continue
        if math.isfinite(origin) and math.isfinite(goal) and goal != origin:
            shares.append((own - origin) / (goal - origin) if math.isfinite(own) else -math.inf)
    return band(shares)


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs a measure, and both bounds."""
    if measure is None or experiment.scale is None:
        return []
    cells = merged_steps(experiment.cells, experiment.step_axes, lambda cell: score(cell, measure))
    shares = [(cell, recovered(cell, experiment, measure)) for cell in cells]
    if not any(share for _, share in shares):
        return []
    rows = [
        [
            cell.label,
            text.spread(final_band(cell, measure), measure),
            text.share(share),
            f"{share.n if share else 0} of {len(cell.members)}",
        ]
        for cell, share in shares
    ]
    rows += [
        [bound.label, text.spread(final_band(bound, measure), measure), text.NONE, text.NONE]
        for bound in experiment.bounds
    ]
    head = [("method", "k"), (measure.label, "n"), ("recovered [%]", "n"), ("seeds", "n")]
    origin, goal = experiment.scale
    about = (
        f"What a method recovers of the way from {origin} (0 %) to {goal} (100 %), in final "
        "values of runs with the same seed: median [20 %, 80 %] of the shares. A run that diverged "
        "counts as worse than all others. These two are no methods, and stand in no other "
        "comparison."
    )
    if experiment.step_axes:
        about += f" Each method has the {text.best_steps(measure)}."
    return [Part("Recovered", about, (), Table(head, rows))]
