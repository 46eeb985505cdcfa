"""``./resetbed schema``: prints a JSON Schema."""

import click


@click.command("schema")
@click.argument("of", type=click.Choice(["spec", "suite", "model", "summary", "chaos"]))
def command(of: str) -> None:
    """Print the JSON Schema of a spec, a suite, a spec with `model:`, a run's summary.json
    or a chaos.json.

    The same is in schemas/, and the first line of a shipped YAML file names it there:
    editors complete and check by it.

    \b
      ./resetbed schema spec >spec.schema.json
    """
    from experiments.schemas.json_schemas import schema_text

    click.echo(schema_text(of), nl=False)
