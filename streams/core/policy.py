"""The settings that decisions read, as one value that travels in every decision."""

import json
from dataclasses import dataclass, fields
from typing import Any, Self

from schemas.settings import (
    AssignmentSettings,
    GranularitySettings,
    LivenessSettings,
    MediaSettings,
    PlannerSettings,
    ScalingSettings,
    Settings,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """
    Every setting that a decision depends on; a recorded decision is made again with the policy it names.

    >>> Policy.from_json(Policy().to_json()) == Policy()
    True
    """

    assignment: AssignmentSettings = AssignmentSettings()
    granularity: GranularitySettings = GranularitySettings()
    liveness: LivenessSettings = LivenessSettings()
    media: MediaSettings = MediaSettings()
    planner: PlannerSettings = PlannerSettings()
    scaling: ScalingSettings = ScalingSettings()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The policy that these settings make."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """
        The policy written by `to_json`.

        Raises:
            ValueError: The text is no policy: a key, unit or range is wrong.
        """
        plain: dict[str, Any] = json.loads(text)
        kinds: dict[str, Any] = {field.name: field.type for field in fields(cls)}
        unknown = sorted(set(plain) - set(kinds))
        if unknown:
            raise ValueError(f"policy: unknown section {', '.join(unknown)}; there are {', '.join(sorted(kinds))}")
        return cls(**{name: kinds[name].model_validate(section) for name, section in plain.items()})

    def to_json(self) -> str:
        """One line with sorted keys: equal policies have equal texts."""
        plain = {field.name: getattr(self, field.name).model_dump(mode="json") for field in fields(self)}
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))
