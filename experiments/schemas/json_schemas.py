"""JSON Schemas (draft 2020-12) of the files that users write and read: specs, summaries.

They are made from the models and nowhere written by hand. Each is kept in ``schemas/`` at
the top of the checkout, where editors and other people's programs find it::

    ./resetbed schema spec > schemas/spec.schema.json

A schema tells which keys there are and what their values look like. What depends on
several keys, e.g. whether an event is possible, only ``./resetbed validate`` knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from experiments.chaos.chaos_summary import ChaosSummary
from experiments.model.model_spec import ModelSpec
from experiments.model.plan_spec import PlanSpec
from experiments.published.published_rows import Rows
from experiments.results.summary_model import Summary
from experiments.spec.run_spec import RunSpec
from experiments.sweep.suite import Suite

#: Where they are kept, each as ``NAME.schema.json``.
FOLDER = Path(__file__).resolve().parents[2] / "schemas"


def spec_schema() -> dict[str, Any]:
    """Of a run's spec. ``reset`` is another name of ``policy`` there."""
    return _of_spec(RunSpec)


def suite_schema() -> dict[str, Any]:
    """Of a suite. Its ``base`` is a spec without what the suite itself gives."""
    schema, spec = Suite.model_json_schema(), spec_schema()
    parts = spec.pop("$defs")
    own = {k: v for k, v in spec["properties"].items() if k != "seed"}
    base = {**schema["properties"]["base"], "$ref": "#/$defs/Base"}
    properties = {**schema["properties"], "base": base}
    defined = {**parts, "Base": {**spec, "title": "Base", "properties": own}}
    return {**schema, "properties": properties, "$defs": defined}


def model_schema() -> dict[str, Any]:
    """Of a spec that is computed: a run's, and the section ``model``."""
    return _of_spec(ModelSpec)


def plan_schema() -> dict[str, Any]:
    """Of the spec of a plan: one that is computed, and the section ``limits``."""
    return _of_spec(PlanSpec)


def published_schema() -> dict[str, Any]:
    """Of ``published.yaml``: published figures, and how far ours may be away."""
    return Rows.model_json_schema()


def summary_schema() -> dict[str, Any]:
    """Of ``summary.json``. Later versions may add keys, and it lets them."""
    return Summary.model_json_schema(by_alias=True)


def chaos_schema() -> dict[str, Any]:
    """Of ``chaos.json``."""
    return ChaosSummary.model_json_schema()


#: Every schema by what it is of.
SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "spec": spec_schema,
    "suite": suite_schema,
    "model": model_schema,
    "plan": plan_schema,
    "summary": summary_schema,
    "chaos": chaos_schema,
    "published": published_schema,
}


def schema_text(of: str) -> str:
    """That schema as it is kept. Raises :class:`KeyError` for a name that is none."""
    schema = {"$schema": GenerateJsonSchema.schema_dialect, **SCHEMAS[of]()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _of_spec(model: type[RunSpec]) -> dict[str, Any]:
    schema = model.model_json_schema()
    return {**schema, "properties": _with_reset(schema["properties"])}


def _with_reset(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a spec, with the older name of ``policy`` after it."""
    both: dict[str, Any] = {}
    for key, value in properties.items():
        both[key] = value
        if key == "policy":
            both["reset"] = {**value, "title": "Reset", "description": "same as policy"}
    return both
