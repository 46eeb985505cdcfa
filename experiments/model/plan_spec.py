"""The spec of a plan: that of a computation, and the administrator's limits."""

from __future__ import annotations

from pydantic import Field, model_validator

from experiments.model.model_spec import SPECS, ModelSpec
from experiments.model.plan_decision import Limit
from experiments.spec.run_spec import Strict
from experiments.spec.spec_file import find_spec, load_spec


class PlanSection(Strict):
    """Limits; None: no limit."""

    half_open_p99_s: float | None = Field(
        default=1.0, ge=0, description="half-open connections last, p99, s"
    )
    hung: int | None = Field(
        default=0, ge=0, description="clients that hang, if only for a time"
    )
    broken_per_event: int | None = Field(
        default=None,
        ge=0,
        description="clients reset by the worst event, or hanging then",
    )
    copies_per_s_on_one_link: float | None = Field(
        default=10_000, ge=0, description="copies on one link in the worst second"
    )
    pin_memory_mib: float | None = Field(
        default=64, ge=0, description="memory of pinned entries, MiB"
    )
    detours: int | None = Field(
        default=None, ge=0, description="connections on a detour, peak"
    )
    locks_of_nobody: int | None = Field(
        default=None, ge=0, description="locks of nobody, peak"
    )
    half_open_memory_mib: float | None = Field(
        default=None, ge=0, description="memory of half-open connections, peak, MiB"
    )
    half_open_kib: float = Field(
        default=37.0, gt=0, description="memory of one of these (nbdkit, idle)"
    )

    def wanted(self) -> list[Limit]:
        """Those that are set, each with where it comes from."""
        return [
            Limit(key, str(field.description), most, self._origin(key))
            for key, field in PlanSection.model_fields.items()
            if key != "half_open_kib" and (most := getattr(self, key)) is not None
        ]

    def memory_of_one(self) -> str:
        """What a half-open connection is taken to hold, and where that comes from."""
        return f"{self.half_open_kib:g} KiB each ({self._origin('half_open_kib')})"

    def _origin(self, key: str) -> str:
        return "spec" if key in self.model_fields_set else "default"


class PlanSpec(ModelSpec):
    """A computation, and what it has to keep."""

    limits: PlanSection = PlanSection()

    @model_validator(mode="after")
    def _is_computed_for_long_enough(self) -> PlanSpec:
        limit = self.limits.half_open_p99_s
        if limit is not None and limit >= self.horizon_s:
            raise ValueError(
                f"limits.half_open_p99_s: {limit:g} s is not shorter than what is computed, "
                f"{self.horizon_s:g} s: raise model.for_s"
            )
        return self


def load_plan_spec(name: str, overrides: tuple[str, ...] = ()) -> PlanSpec:
    """The spec of that file, scenario or shipped spec, changed by ``key=value``.

    Raises :class:`SpecError`.
    """
    shipped = SPECS / f"{name}.yaml"
    path = shipped if shipped.is_file() else find_spec(name)
    return load_spec(path, overrides, PlanSpec)
