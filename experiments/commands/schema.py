"""``./resetbed schema``: prints a JSON Schema."""

import click

NAMES = ("spec", "suite", "model", "plan", "summary", "chaos", "published")


@click.command("schema")
@click.argument("of", type=click.Choice(NAMES))
def command(of: str) -> None:
    """Print the JSON Schema of a spec, a suite, a spec with `model:`, one with `limits:`, a
    run's summary.json, a chaos.json or the published figures.

    The same is in schemas/, and the first line of a shipped YAML file names it there:
    editors complete and check by it.

    \b
      ./resetbed schema spec >spec.schema.json
    """
    from experiments.schemas.json_schemas import schema_text

    click.echo(schema_text(of), nl=False)
