"""The command line. Every command takes ``--project DIR`` (default ``.``) and, where it prints a result, ``--json``.

Exit codes: 0 done, 1 failed, 2 wrong usage. Results go to stdout, errors and progress to stderr. Commands import what they need when they run,
so that ``daogou --help`` is instant and serving never loads what only training needs.
"""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from daogou import __version__
from daogou.errors import DaogouError, MissingExtra, UsageError

if TYPE_CHECKING:
    from daogou.contract import Progress
    from daogou.engine import Answer, Engine
    from daogou.guide.dialogue import Question, Reply
    from daogou.scenario import Project, Scenario
    from daogou.serve.ask_keys import RunningKeys
    from daogou.store import Store

app = typer.Typer(
    name="daogou", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="An AI shopping guide (导购) that a shop runs itself."
)
keys_app = typer.Typer(no_args_is_help=True, help="Keys of the API: create, list, revoke.")
releases_app = typer.Typer(no_args_is_help=True, help="Trained releases: list, publish, roll back.")
app.add_typer(keys_app, name="keys")
app.add_typer(releases_app, name="releases")

err = Console(stderr=True)
_EPOCH = re.compile(r" (?:epoch \d|loss |validation )")
"""What follows the name of a step and changes while it goes on."""

PIPED_COLUMNS = 160
"""A table that goes into a file has no terminal that it must fit."""

ProjectDir = Annotated[Path, typer.Option("--project", help="Project directory.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Models = Annotated[str, typer.Option("--models", help="Comma-separated; empty = the scenario's.")]


def main() -> None:
    """Entry point: turns daogou's errors into messages and exit codes."""
    try:
        app(standalone_mode=True)
    except UsageError as e:
        err.print(f"[red]error:[/] {escape(str(e))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except DaogouError as e:
        err.print(f"[red]error:[/] {escape(str(e))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except MemoryError as e:
        text = f"out of memory{f' ({e})' if str(e) else ''}; nothing was changed: fewer models or events, or a machine with more"
        err.print(f"[red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)
        sys.exit(1)


@contextmanager
def _resumable(what: str) -> Iterator[None]:
    """Ctrl-C in a long command is answered with what is left of it."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"interrupted: {what}; the same command goes on from there", highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _columns(pairs: list[str]) -> dict[str, dict[str, str]]:
    """``events.uid=user_id`` as the importer takes it: {"events": {"uid": "user_id"}}."""
    out: dict[str, dict[str, str]] = {}
    for pair in pairs:
        source, _, column = pair.rpartition("=")
        table, _, name = source.partition(".")
        if table not in ("events", "items", "users") or not name or not column:
            raise UsageError(f"--column {pair!r}", expected="TABLE.COLUMN_IN_FILE=COLUMN, such as events.uid=user_id", field="column")
        out.setdefault(table, {})[name] = column
    return out


def _print(result: Any, as_json: bool, text: str = "") -> None:
    """A result on stdout: JSON for programs, `text` (or readable JSON) for people."""
    if as_json or not text:
        encoded = msgspec.json.format(msgspec.json.encode(result, enc_hook=str), indent=2)
        typer.echo(encoded.decode())
    else:
        typer.echo(text)


@contextmanager
def _project(directory: Path, *, read_only: bool = False) -> "Iterator[tuple[Project, Scenario, Store]]":
    from daogou.scenario import load_project
    from daogou.store import Store

    project = load_project(directory)
    scenario = project.load_scenario()
    with Store.open(project.store_url, read_only=read_only) as store:
        yield project, scenario, store


@contextmanager
def bars() -> "Iterator[Progress]":
    """A progress bar on stderr for every step that reports; the epochs of a network share one, and their figures are its text."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err, transient=False) as shown:
        tasks: dict[str, Any] = {}
        reached: dict[str, float] = {}

        def report(step: str, done: float, total: float | None) -> None:
            name = _EPOCH.split(step)[0]
            if name not in tasks:
                tasks[name] = shown.add_task(step, total=total)
            elif done < reached[name]:
                shown.reset(tasks[name])
            reached[name] = done
            shown.update(tasks[name], description=step, completed=done, total=total)

        yield report


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    import structlog

    # stdout is for results alone; stderr as it is when something is logged, not as it is now.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def init(directory: Annotated[Path, typer.Argument()], scenario: Annotated[str, typer.Option(help="shop, content, social, or a TOML file.")] = "shop") -> None:
    """Makes a project directory."""
    from daogou.scenario import load_scenario
    from daogou.store import Store

    target = directory / "daogou.toml"
    if target.exists():
        raise UsageError("there is a project already", fix="choose another directory", where=str(target))
    load_scenario(scenario, directory)
    directory.mkdir(parents=True, exist_ok=True)
    target.write_text(f'scenario = "{scenario}"\nstore = "sqlite:///store.sqlite3"\n\n[training]\nseed = 0\n\n[serving]\nport = 8642\n', "utf-8")
    from daogou.scenario import load_project

    with Store.open(load_project(directory).store_url):
        pass
    typer.echo(f"{directory}: a project of scenario {scenario!r}. Next: daogou import --project {directory} --events FILE --items FILE")


@app.command("import")
def import_(
    events: Annotated[list[Path], typer.Option("--events", help="Files of events; repeat the option for several.")] = [],  # noqa: B006 (typer copies it)
    items: Annotated[list[Path], typer.Option("--items", help="Files of items.")] = [],  # noqa: B006
    users: Annotated[list[Path], typer.Option("--users", help="Files of users.")] = [],  # noqa: B006
    format: Annotated[str, typer.Option("--format", help="A reader by name (csv, tsv, jsonl, parquet, movielens, sequences, …); by suffix if left out.")] = "",
    column: Annotated[list[str], typer.Option("--column", help="TABLE.COLUMN_IN_FILE=COLUMN, for example events.uid=user_id; repeat it for several.")] = [],  # noqa: B006
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Loads files: CSV, TSV, JSONL, Parquet, each also .gz, and known data sets by name. Bad rows go to quarantine."""
    from daogou.store.importing import import_files

    with _project(directory) as (project, scenario, store), bars() as progress:
        report = import_files(
            store,
            scenario,
            events=events,
            items=items,
            users=users,
            format=format or None,
            columns=_columns(column),
            quarantine=project.quarantine,
            progress=progress,
        )
    _print(report, as_json, str(report))


@app.command()
def doctor(directory: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """Says what is in the store, what is wrong with it, and what it is good for."""
    from daogou.data.doctor import examine
    from daogou.guide.language_model import LanguageModel

    with _project(directory, read_only=True) as (project, scenario, store):
        data = store.snapshot(scenario.events, attributes=scenario.attributes, max_events_per_user=project.training.max_events_per_user)
        diagnosis = examine(data)
    _print(diagnosis, as_json, str(diagnosis))
    if settings := project.language_model:
        err.print(f"language model: {settings.model!r} at {settings.url} hears what shoppers tell the guide", highlight=False, soft_wrap=True)
        LanguageModel(settings)  # an address or a key that cannot be is an error here and not first in `serve`


@app.command()
def train(
    models: Models = "",
    seed: Annotated[int | None, typer.Option(help="Seed; the project's if left out.")] = None,
    publish: Annotated[bool, typer.Option("--publish/--no-publish", help="Whether the new release goes live (if it is not worse).")] = True,
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Fits the scenario's models, measures them on a time split, learns the blend, writes a release and publishes it."""
    from daogou.train.fit import train as fit

    kept = "the live release stays, and what networks have learned is kept"
    with _resumable(kept), _project(directory, read_only=True) as (project, scenario, store), bars() as progress:
        trained = fit(project, store, scenario, models=_names(models) or None, seed=seed, publish=publish, progress=progress)
    _print(trained, as_json, str(trained))


def _beside_cold(protocols: tuple[str, ...], scenario: "Scenario") -> tuple[str, ...]:
    """With a protocol of cold items or people alone, also the scenario's own: a cold figure says something beside a warm one."""
    warm = scenario.evaluation.protocol if not scenario.evaluation.protocol.startswith("cold-") else "leave-one-out"
    return (*protocols, warm) if protocols and all(name.startswith("cold-") for name in protocols) else protocols


@app.command()
def evaluate(
    protocol: Annotated[
        str,
        typer.Option(
            help="time, leave-one-out, user-split, cold-items or cold-users; several with commas lie beside the first, a warm one beside a cold one. "
            "The scenario's if left out."
        ),
    ] = "",
    models: Models = "",
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Fits of each model that differ in the seed alone.")] = 1,
    report: Annotated[Path | None, typer.Option("--report", help="Directory for report.html and report.json.")] = None,
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Measures models honestly: full ranking, intervals, baselines beside. In --models, `blend` is all the others blended, `ranked` a ranker over them."""
    from daogou.evaluate import report as reports
    from daogou.scenario import read_tuned
    from daogou.train.experiment import experiment
    from daogou.train.fit import snapshot

    with _project(directory, read_only=True) as (project, scenario, store), bars() as progress:
        found = experiment(
            snapshot(project, store, scenario),
            scenario,
            protocols=_beside_cold(_names(protocol), scenario),
            models=_names(models),
            seeds=seeds,
            threads=project.training.threads,
            progress=progress,
            vectors=project.directory / "vectors",
            photos=project.directory / "photos",
            tuned=read_tuned(project.directory),
            command=shlex.join(["daogou", *sys.argv[1:]]),
        )
    if report:
        err.print(f"report: {reports.write(found, report)}", highlight=False)
    if as_json:
        _print(reports.to_json(found), True)
    else:
        Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS).print(reports.terminal_table(found))


@app.command()
def tune(
    model: Annotated[str, typer.Argument(help="A model of the scenario or a baseline of evaluate; several with commas get the same budget each.")],
    minutes: Annotated[float, typer.Option(help="Wall time for each model.")] = 10.0,
    trials: Annotated[int | None, typer.Option(min=1, help="At most so many new trials.")] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also the baselines of daogou evaluate, with the same budget each.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time; with more than one the search cannot be repeated exactly.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed; the project's if left out.")] = None,
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Searches a model's settings on validation and writes the best to tuned.toml. Goes on where an earlier call stopped."""
    from daogou.train.experiment import BASELINES
    from daogou.train.fit import circumstances, snapshot
    from daogou.train.tune import tune as search

    kept = "the settings in use stay, and every finished trial is kept"
    with _resumable(kept), _project(directory, read_only=True) as (project, scenario, store), bars() as progress:
        data = snapshot(project, store, scenario)
        run = circumstances(project, project.training.seed if seed is None else seed)
        names = list(dict.fromkeys([*_names(model), *(BASELINES if baselines else ())]))
        found = [search(project, scenario, data, name, minutes=minutes, trials=trials, jobs=jobs, run=run, progress=progress) for name in names]
    _print(found, as_json, "\n".join(str(one) for one in found))


@app.command()
def recommend(
    user: Annotated[str | None, typer.Option(help="Shopper; a guest if left out.")] = None,
    items: Annotated[str, typer.Option(help="Comma-separated items on the page.")] = "",
    placement: Annotated[str, typer.Option(help="Where it will be shown; the scenario's first if left out.")] = "",
    filter: Annotated[str, typer.Option(help='For example: price <= 5 and brand = "X"')] = "",
    k: Annotated[int | None, typer.Option("-k", help="How many.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="What in the history caused each.")] = False,
    locale: Annotated[str, typer.Option(help="en or zh")] = "en",
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Asks one placement, as the API would."""
    from daogou.engine import Request

    with _engine(directory) as (engine, scenario):
        request = Request(
            placement=placement or scenario.placements[0].name, user_id=user, items=list(_names(items)), filter=filter, k=k, explain=explain, locale=locale
        )
        answer = engine.recommend(request)
    _print(answer, as_json, _answer_text(answer))


@app.command()
def similar(
    item: Annotated[str, typer.Argument()],
    k: Annotated[int, typer.Option("-k")] = 10,
    locale: Annotated[str, typer.Option()] = "en",
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """What is like an item."""
    with _engine(directory) as (engine, _):
        answer = engine.similar(item, k, locale)
    _print(answer, as_json, _answer_text(answer))


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="What is looked for, in Chinese or English. For more turns: --chat.")] = "",
    image: Annotated[Path | None, typer.Option(help="A photo as the question, or beside the words: JPEG, PNG or WebP.")] = None,
    user: Annotated[str | None, typer.Option(help="Shopper; a guest if left out.")] = None,
    filter: Annotated[str, typer.Option(help="What may be shown in any case, in the filter language.")] = "",
    locale: Annotated[str, typer.Option(help="en or zh; the text's own language if left out.")] = "",
    k: Annotated[int, typer.Option("-k", help="How many.")] = 8,
    chat: Annotated[bool, typer.Option("--chat", help="Goes on line by line from standard input.")] = False,
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Asks the guide."""
    from daogou.guide.dialogue import Question, Reply

    def spoken(reply: Reply) -> str:
        chips = "  ".join(f"[{chip.label}]" for chip in reply.understood)
        options = " / ".join(f"{option.label} ({option.items})" for option in reply.question.options) if reply.question else ""
        goods = [(one.item_id, one.item.title if one.item else "", one.item.price if one.item else None, one.reason) for one in reply.items]
        lines = [
            f"{n:>3}. {i:<12} {title or '':<48.48} {price if isinstance(price, float) else '':>8}  {why}" for n, (i, title, price, why) in enumerate(goods, 1)
        ]
        return "\n".join(line for line in (reply.reply, options, chips, *lines) if line)

    with _engine(directory) as (engine, _), _guide(directory) as ask:
        photo = None if image is None else _photo(image)
        with bars() as progress:
            engine.learn_meaning(photos=photo is not None, progress=progress)
        conversation = None
        for words in [text, *(sys.stdin if chat else ())] if text or photo is not None or not chat else sys.stdin:
            question = Question(text=words[:10_000], image=photo, user_id=user, filter=filter, locale=locale or None, k=k, conversation_id=conversation)
            reply = ask(engine, question)
            conversation, photo = reply.conversation_id, None
            _print(reply, as_json, spoken(reply))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; the project's if left out.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; the project's if left out; 0 = any free one.")] = None,
    open_access: Annotated[bool, typer.Option("--open", help="No keys; only on loopback.")] = False,
    directory: ProjectDir = Path(),
) -> None:
    """Serves the API, the storefront and the metrics."""
    from daogou.scenario import load_project
    from daogou.serve.run import serve as run
    from daogou.train.erase import erase as forget

    project = load_project(directory)
    run(project, host or project.serving.host, project.serving.port if port is None else port, open_access=open_access, erase=forget)


@app.command()
def mcp(
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP at /mcp instead of standard input and output.")] = False,
    host: Annotated[str, typer.Option(help="Address of --http; any but loopback asks for a key (daogou keys create).")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of --http; 0 = any free one.")] = 8643,
    directory: ProjectDir = Path(),
) -> None:
    """The engine as tools for agents (MCP): search, recommend, similar, explain, guide. Reads only, also beside a running server."""
    from importlib.util import find_spec

    from daogou.scenario import load_project

    if find_spec("mcp") is None:
        raise MissingExtra("the Model Context Protocol", "mcp")
    from daogou.mcp import run

    project = load_project(directory)
    if http:
        run.http(project, host, port)
    else:
        run.stdio(project)


@app.command()
def export(user: Annotated[str, typer.Argument()], to: Annotated[Path, typer.Option("--to", help="File to write.")], directory: ProjectDir = Path()) -> None:
    """Everything that is stored about one person, as JSON."""
    with _project(directory, read_only=True) as (_, _, store):
        to.write_bytes(msgspec.json.format(msgspec.json.encode(store.export_user(user)), indent=1))
    typer.echo(f"{to}: everything stored about {user!r}")


@app.command()
def erase(user: Annotated[str, typer.Argument()], directory: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """Removes a person: rows, caches, and what the models learned from them. Prints a receipt."""
    from daogou.train.erase import erase as forget

    with _project(directory) as (project, _, store):
        receipt = forget(project, store, user)
    _print(receipt, as_json)


@app.command()
def backup(to: Annotated[Path, typer.Argument(help="File to write.")], directory: ProjectDir = Path()) -> None:
    """A copy of the store as of one moment; may run while the server works."""
    with _project(directory, read_only=True) as (_, _, store):
        store.backup(to)
    typer.echo(f"{to}: {to.stat().st_size:,} bytes")


def _photo(file: Path) -> str:
    """The file in base64, as the API takes it; what it may be is judged there."""
    from base64 import b64encode

    from daogou.guide.dialogue import MOST_PHOTO

    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_PHOTO // 4 * 3 + 1)
    except OSError as e:
        raise UsageError(f"the photo cannot be read ({e.strerror})", expected="a JPEG, PNG or WebP file", fix="name another file", where=str(file)) from e
    return b64encode(data).decode()


@contextmanager
def _engine(directory: Path) -> "Iterator[tuple[Engine, Scenario]]":
    from daogou.engine import Engine
    from daogou.release import open_current

    with _project(directory, read_only=True) as (project, scenario, store):
        engine = Engine(
            open_current(project.releases),
            scenario,
            store,
            text_encoder=project.serving.text_encoder,
            image_encoders=project.serving.image_encoders,
            encoders=project.serving.encoders,
            photos=project.directory / "photos",
            vectors=project.directory / "vectors",
        )
        yield engine, scenario


@contextmanager
def _guide(directory: Path) -> "Iterator[Callable[[Engine, Question], Reply]]":
    """Turns of the guide, with the project's language model where it names one."""
    import asyncio

    from daogou.guide.assistant import Assistant
    from daogou.guide.dialogue import Guide
    from daogou.guide.language_model import LanguageModel
    from daogou.scenario import load_project

    def told(use: str, outcome: str) -> None:
        if outcome != "used":
            err.print(f"language model, {use}: {outcome}; the rules answer", style="dim")

    settings = load_project(directory).language_model
    model = LanguageModel(settings, count=told) if settings else None
    assistant = Assistant(Guide(), model, asyncio.to_thread)
    with asyncio.Runner() as runner:
        try:
            yield lambda engine, question: runner.run(assistant.ask(engine, question))
        finally:
            if model is not None:
                runner.run(model.close())


def _answer_text(answer: "Answer") -> str:
    head = f"release {answer.release}" + (" (degraded)" if answer.degraded else "")
    lines = [f"{n:>3}. {a.item_id:<12} {(a.item.title if a.item else None) or '':<40.40} {a.score:>8.3f}  {a.reason}" for n, a in enumerate(answer.items, 1)]
    for a in answer.items:
        for cause in a.explanation or ():
            lines.append(f"     {a.item_id} ← {cause.item_id} {cause.weight:+.4f} ({cause.how})")
    return "\n".join([head, *lines])


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Port of the server.")] = 8642,
    check: Annotated[bool, typer.Option("--check", help="Ask every placement of the running server once, print the answers, and end.")] = False,
    directory: Annotated[Path, typer.Option("--project", help="Where the sample shop is made.")] = Path("demo-shop"),
) -> None:
    """The sample shop (a year of groceries of 2,469 households): import, train, evaluate, serve."""
    from daogou import demo as sample

    with bars() as progress:
        project = sample.prepare(directory, progress, typer.echo)
    typer.echo(sample.headline(project, project.load_scenario()))
    if check:
        sample.check(project, typer.echo)
        return
    from daogou.serve.run import serve as run
    from daogou.train.erase import erase as forget

    typer.echo(f"\nstorefront  http://127.0.0.1:{port}/\nAPI         http://127.0.0.1:{port}/v1\n(open access on loopback; Ctrl-C ends it)")
    run(project, "127.0.0.1", port, open_access=True, erase=forget, log_level="warning")


Server = Annotated[str, typer.Option("--server", help="Ask the server that runs at this address; an admin key in DAOGOU_KEY.")]


@keys_app.command("create")
def keys_create(
    kind: Annotated[str, typer.Option(help="server (a shop's own systems), browser (a web page), or admin.")] = "server",
    scopes: Annotated[str, typer.Option(help="Comma-separated; the kind's if left out.")] = "",
    origins: Annotated[str, typer.Option(help="For browser keys: the pages that may use it, comma-separated.")] = "",
    server: Server = "",
    directory: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Makes a key and prints it once: only its digest is stored."""
    from daogou.serve import keys

    if server:
        made = _running(server).create(kind, scopes=_names(scopes), origins=_names(origins))
    else:
        with _unlocked("keys create", directory) as store:
            made = keys.create(store, kind, scopes=_names(scopes), origins=_names(origins))
    _print(made, as_json)


@keys_app.command("list")
def keys_list(server: Server = "", directory: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """Which keys there are, without their secrets."""
    from daogou.serve import keys

    if server:
        _print(_running(server).listing(), as_json)
        return
    with _project(directory, read_only=True) as (_, _, store):
        _print(keys.listing(store), as_json)


@keys_app.command("revoke")
def keys_revoke(key_id: Annotated[str, typer.Argument()], server: Server = "", directory: ProjectDir = Path()) -> None:
    """A revoked key is refused from the next request on."""
    from daogou.serve import keys

    if server:
        _running(server).revoke(key_id)
    else:
        with _unlocked("keys revoke", directory) as store:
            keys.revoke(store, key_id)
    typer.echo(f"{key_id}: revoked")


def _running(server: str) -> "RunningKeys":
    import os

    from daogou.serve.ask_keys import KEY_ENV, RunningKeys

    return RunningKeys(server, os.environ.get(KEY_ENV, "").strip())


@contextmanager
def _unlocked(command: str, directory: Path) -> "Iterator[Store]":
    """The store for writing; where the server holds it, the error says how to ask that one."""
    from daogou.errors import StoreLocked
    from daogou.scenario import load_project

    try:
        with _project(directory) as (_, _, store):
            yield store
    except StoreLocked as e:
        serving = load_project(directory).serving
        fix = f"ask the server, with an admin key: DAOGOU_KEY=dg_admin_… daogou {command} --server http://{serving.host}:{serving.port}; or stop it"
        raise StoreLocked(e.found, expected=e.expected, fix=fix, where=e.where) from e


@releases_app.command("list")
def releases_list(directory: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """What has been trained; `*` marks the live one."""
    from daogou.release import current_id, list_releases
    from daogou.scenario import load_project

    project = load_project(directory)
    live = current_id(project.releases)
    found = list_releases(project.releases)
    lines = [f"{'*' if m.id == live else ' '} {m.id}  {m.scenario}  {', '.join(m.models) or 'no model'}  {m.events:,} events" for m in found]
    _print([{"live": m.id == live, **msgspec.to_builtins(m)} for m in found], as_json, "\n".join(lines) or "nothing has been trained: daogou train")


@releases_app.command("publish")
def releases_publish(release: Annotated[str, typer.Argument()], directory: ProjectDir = Path()) -> None:
    """Makes a release the live one, whatever the gate said of it."""
    from daogou.scenario import load_project
    from daogou.train.release import publish

    publish(load_project(directory).releases, release)
    typer.echo(f"{release} is live")


@releases_app.command("rollback")
def releases_rollback(
    release: Annotated[str, typer.Argument(help="Which; the one before the live one if left out.")] = "", directory: ProjectDir = Path()
) -> None:
    """Back to an earlier release."""
    from daogou.scenario import load_project
    from daogou.train.release import rollback

    typer.echo(f"{rollback(load_project(directory).releases, release or None)} is live")
