"""Arguments of jobs: what each of the three functions may be given, and in which queue it may be.

Checked when a job is read, before anything of it is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mediaflow.queues.refused import RefusedJob
from mediaflow.settings import load_settings

PREPARE = "jobs.stages.prepare"
ANALYSE = "jobs.stages.analyse"
STORE = "jobs.stages.store"

Id = Annotated[int, Field(gt=0, lt=2**63)]
Hash = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Name = Annotated[str, Field(min_length=1, max_length=300)]
Reason = Annotated[str, Field(max_length=5000)]
# A job has as many files or assets as the settings say, 1000 at most.
MOST = 1000
# Texts of one asset that can be embedded: the vectors of more are no finding (jobs/schema.py).
MOST_TEXTS = 20_000


class Form(BaseModel):
    """A form of data from outside: nothing is converted, nothing is let through that it does not name."""

    model_config = ConfigDict(strict=True, extra="forbid")


class PrepareArguments(Form):
    run: Annotated[int, Field(ge=0, lt=2**63)]
    ids: Annotated[list[Id], Field(max_length=MOST)]
    tasks: Annotated[list[Name], Field(max_length=100)]


class Item(Form):
    """An asset to analyse, or texts of it to embed."""

    asset: Hash
    source: Literal["ocr", "speech"] | None = None
    texts: Annotated[list[Annotated[str, Field(max_length=20_000)]], Field(max_length=MOST_TEXTS)] | None = (
        None
    )


class AnalyseArguments(Form):
    run: Annotated[int, Field(ge=0, lt=2**63)]
    task: Name
    model: Name
    items: Annotated[list[Item], Field(max_length=MOST)]


class Result(Form):
    """What was found of an asset, or why nothing was; `box` is who says so, unless it was this machine.

    What was found is checked where it is stored (`jobs.schema`): it costs one file, not the job.
    """

    asset: Hash
    source: Literal["ocr", "speech"] | None = None
    box: Name | None = None
    data: Any = None
    seconds: Any = None
    vectors: Any = None
    reason: Reason | None = None
    permanent: bool | None = None
    blameless: bool = False

    @model_validator(mode="after")
    def _says_whether_to_try_again(self) -> Result:
        if self.reason is not None and self.permanent is None:
            raise ValueError("a reason without `permanent`")
        return self


class StoreArguments(Form):
    run: Annotated[int, Field(ge=0, lt=2**63)]
    task: Name
    model: Name
    results: Annotated[list[Result], Field(max_length=MOST)]


FORMS: dict[str, type[Form]] = {
    PREPARE: PrepareArguments,
    ANALYSE: AnalyseArguments,
    STORE: StoreArguments,
}


def check(queue: str, function: Any, arguments: Any, keywords: Any) -> None:
    """Check a job's function, queue and arguments. Raises RefusedJob with what breaks the rules."""
    form = FORMS.get(function) if isinstance(function, str) else None
    if form is None:
        raise RefusedJob(f"{str(function)[:100]!r} is not a function that mediaflow's workers run")
    if keywords != {}:
        raise RefusedJob("it has arguments by name")
    names = list(form.model_fields)
    if not isinstance(arguments, Sequence) or isinstance(arguments, str) or len(arguments) != len(names):
        raise RefusedJob(f"{function} takes {len(names)} arguments: {', '.join(names)}")
    try:
        given = form.model_validate(dict(zip(names, arguments, strict=True)))
    except ValidationError as error:
        raise RefusedJob(f"an argument of {function} breaks the rules: {what_is_wrong(error)}") from None
    _check_place(queue, given)


def _check_place(queue: str, given: Form) -> None:
    tasks = load_settings().tasks
    named = given.tasks if isinstance(given, PrepareArguments) else [given.task]  # type: ignore[attr-defined]
    for task in named:
        if task not in tasks:
            raise RefusedJob(f"there is no task {task[:100]!r}")
    home = {PrepareArguments: "prepare", StoreArguments: "index"}.get(type(given)) or named[0]
    if queue != home:
        raise RefusedJob(f"it is for the queue {home}, not {queue[:100]!r}")


def what_is_wrong(error: ValidationError) -> str:
    """The first thing that is wrong: where, and why; nothing of the value itself but its place."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part)[:50] for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
