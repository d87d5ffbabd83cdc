"""A business in one TOML file: what its events weigh, what its goods are, which places show items, and its words.

The engine reads these structs and knows no business word of its own. `load_scenario` takes the name of a built-in scenario
(``shop``, ``content``, ``social``) or the path of a file. A project directory says which scenario it runs in ``daogou.toml``.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from daogou.config import Config, decode_toml, read_toml
from daogou.contract import ITEMS
from daogou.errors import ConfigError, UnknownName

Kind = Literal["number", "tag", "category", "text", "image", "time", "flag"]
"""What an attribute is: `category` is a path such as ``Shoes > Running``; `tag` is one value or several joined by ``|``."""


class Attributes(Config, frozen=True):
    """Attributes beyond the fixed columns of contract.py, by table."""

    items: dict[str, Kind] = {}
    users: dict[str, Kind] = {}


class Columns(Config, frozen=True):
    """Renaming on import: ``{"column in the file" = "daogou column"}``, by table."""

    events: dict[str, str] = {}
    items: dict[str, str] = {}
    users: dict[str, str] = {}


class Placement(Config, frozen=True):
    """A place that shows items."""

    name: str
    retrieve: Annotated[tuple[str, ...], Meta(min_length=1)]
    "Names of the models that propose items, best first; the order is also the order of fallback."
    title: dict[str, str] = {}
    "Heading by locale."
    about: Literal["shopper", "items"] = "shopper"
    "Whose history the retrievers see: the shopper's own, or the items on the page (product page, cart)."
    filter: str = ""
    "What may be shown, in the filter language; applied before top-k."
    exclude: tuple[str, ...] = ()
    "Items with one of these events by the shopper are not shown (empty where people buy again)."
    rank: str = "blend"
    "`blend` (weights learned on validation), `first` (the first retriever alone), `ranked` (the learned ranker), or a ranker of [rankers] by name."
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    "Share of the arrangement's score given to being different in `diversity_by` from what is already on the list (MMR)."
    diversity_by: str = "category"
    cap: Annotated[int, Meta(ge=0)] = 0
    "At most so many items of one `diversity_by` value on a list; 0 = no cap."
    explore: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    "Share of the positions given to exploration, half of them to goods nobody has taken yet; their propensities are logged."
    size: Annotated[int, Meta(ge=1, le=100)] = 10


class Evaluation(Config, frozen=True):
    """How this business is measured."""

    protocol: Literal["time", "leave-one-out", "user-split", "cold-items", "cold-users"] = "time"
    test_days: Annotated[float, Meta(ge=0)] = 0.0
    "Length of the test window in days; 0 takes the last tenth of the events."
    repeats: bool = False
    "Whether an item the shopper already has counts as a target (consumables); otherwise seen items are masked."
    goal: tuple[str, ...] = ()
    "Events that count as targets; empty takes every event of positive weight."
    groups: tuple[str, ...] = ()
    "Registration attributes whose groups are compared."
    exposure: str = "brand"
    "Item attribute whose share of exposure is reported."


class Gate(Config, frozen=True):
    """When a new release is refused (compared with the live one on the same validation targets)."""

    metric: str = "ndcg@10"
    max_drop: Annotated[float, Meta(ge=0, le=1)] = 0.05
    "Largest relative drop of `metric` that is still published; the confidence interval is considered."
    min_coverage: Annotated[float, Meta(ge=0, le=1)] = 0.5
    "Smallest catalogue coverage relative to the live release."


class Profiles(Config, frozen=True):
    """What may be concluded of a person, and shown to them."""

    sensitive: tuple[str, ...] = ()
    "Item attributes from which more would follow than taste (gender, health, faith): never counted, shown or asked about."
    private: str = ""
    "Filter: items that leave no trace in a profile."
    timezone: str = "UTC"
    "In which hours and weekdays are counted, by its name in the tz database (`Asia/Shanghai`)."


class Scenario(Config, frozen=True):
    """See the module's text. Event names not listed under `events` are stored and teach nothing."""

    name: str
    events: dict[str, float]
    "Weight of each event as a sign of taste: 1 for the strongest; 0 = recorded only (shown); negative = takes back (refund, dislike, block)."
    placements: tuple[Placement, ...]
    attributes: Attributes = Attributes()
    columns: Columns = Columns()
    models: dict[str, dict[str, Any]] = {}
    "Models to train and their hyperparameters; `kind` names the plugin where it differs from the key."
    tried: tuple[str, ...] = ()
    "Models that a training only tries: where they are installed, enough shoppers teach and time is left. They are released where they win on validation."
    rankers: dict[str, dict[str, Any]] = {}
    "Rankers that placements name and their settings; `kind` names the plugin where it differs from the key (`ranked` is `lambdarank` unless it says so)."
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    profile: Profiles = Profiles()
    answers: dict[str, str] = {}
    "Which placement answers the fixed questions of the API: `similar` and `bought_together` of an item."
    pages: dict[str, tuple[str, ...]] = {}
    "Which placements each built-in page shows, in order; serve/web/roles.py names the pages."
    actions: dict[str, str] = {}
    "Which event each action on the built-in pages records; an action that is missing has no button. serve/web/roles.py names the actions."
    people: str = ""
    "Kind of the items that are people: such an item with a user's id is that user, and is erased with them. Empty where people are no items."
    words: dict[str, dict[str, str]] = {}
    "Names of things by locale: `item`, `items`, `user`, and the reason of each model (`because.ease`)."

    def __post_init__(self) -> None:
        names = [p.name for p in self.placements]
        if double := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"placement {sorted(double)[0]!r} is declared twice")
        for place in self.placements:
            for model in place.retrieve:
                if model not in self.models:
                    raise ValueError(f"placement {place.name!r} retrieves from {model!r}, which is not under [models]; there are: {', '.join(self.models)}")
        if odd := [name for name in self.tried if name not in self.models]:
            raise ValueError(f"tried names {odd[0]!r}, which is not under [models]; there are: {', '.join(self.models)}")
        for name in self.profile.sensitive:
            if name not in (there := [*ITEMS, *self.attributes.items]):
                raise ValueError(f"profile.sensitive names the attribute {name!r}, which items do not have; there are: {', '.join(there)}")
        for question, place_name in self.answers.items():
            if place_name not in names:
                raise ValueError(f"answers.{question} names the placement {place_name!r}, which is not declared; there are: {', '.join(names)}")
        for page, shown in self.pages.items():
            if missing := [place_name for place_name in shown if place_name not in names]:
                raise ValueError(f"pages.{page} names the placement {missing[0]!r}, which is not declared; there are: {', '.join(names)}")
        for action, event in self.actions.items():
            if event not in self.events:
                raise ValueError(f"actions.{action} names the event {event!r}, which is not declared; there are: {', '.join(self.events)}")

    def placement(self, name: str) -> Placement:
        """The placement of that name, or `UnknownName` with the names that exist."""
        for place in self.placements:
            if place.name == name:
                return place
        raise UnknownName("placement", name, [p.name for p in self.placements], field="placement")

    def word(self, key: str, locale: str, default: str = "") -> str:
        """A word of the business in `locale`, English where the locale lacks it, `default` (or the key) where both do."""
        return self.words.get(locale, {}).get(key) or self.words.get("en", {}).get(key) or default or key


TUNED = "tuned.toml"
BUILT_IN = ("shop", "content", "social")


def load_scenario(name: str | Path, base: Path = Path()) -> Scenario:
    """A built-in scenario by name, or one from a TOML file (relative to `base`)."""
    if str(name) in BUILT_IN:
        source = resources.files("daogou.scenarios") / f"{name}.toml"
        return decode_toml(source.read_text("utf-8"), Scenario, f"scenarios/{name}.toml")
    path = base / name
    if not path.exists() and path.suffix != ".toml":
        raise UnknownName("scenario", str(name), BUILT_IN)
    return read_toml(path, Scenario)


class Training(Config, frozen=True):
    """How `daogou train` works here."""

    models: tuple[str, ...] = ()
    "Which of the scenario's models to train; empty = all."
    minutes: Annotated[float, Meta(ge=0)] = 10.0
    "Wall time of a training: cheap models first, dear ones while there is time; 0 = no limit."
    seed: int = 0
    threads: Annotated[int, Meta(ge=0)] = 0
    "Threads for training; 0 = every core."
    keep_releases: Annotated[int, Meta(ge=1)] = 3
    max_events_per_user: Annotated[int, Meta(ge=1)] = 2000
    "Only a shopper's newest events are learned from (bots, shared accounts)."


class Serving(Config, frozen=True):
    """How `daogou serve` works here."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8642
    max_body_bytes: int = 2_000_000
    history: Annotated[int, Meta(ge=1)] = 500
    "A shopper's newest events read for one answer."
    text_encoder: str = "use"
    "Encoder that reads titles for search by meaning; empty = search goes by words alone."
    image_encoders: dict[str, float] = field(default_factory=lambda: {"efficientnet": 1.0, "color": 0.3})
    "Encoders that look at photos, with the weight of what each sees; empty = a photo is no question here."
    encoders: dict[str, dict[str, Any]] = {}
    "Settings of the encoders named above: ``sentence-transformers = { directory = '/models/NAME' }``, ``openai = { url = …, model = …, dim = … }``."
    log_shown: bool = True
    "Whether what was shown is stored as `shown` events: without them there is no honest learning."
    keep_shown_days: Annotated[float, Meta(ge=0)] = 180.0
    "For how many days the server keeps the `shown` events that it noted itself; 0 = for ever. What was imported or sent as such stays."


class LanguageModel(Config, frozen=True):
    """A chat model that may read and phrase for the guide: any server of the OpenAI interface. Without this section nothing is asked anywhere.

    It is sent what the shopper typed, what the catalogue's attributes are called, and the goods that were found; nothing else of a person.
    """

    url: str
    "Base address, such as ``http://localhost:8080/v1``."
    model: str
    "Its name there."
    key_env: str = ""
    "Environment variable that holds the key; empty = none is sent."
    read: bool = True
    "Whether it is asked what words mean that the rules could not read."
    phrase: bool = True
    "Whether it may put the answer in words."
    budget_s: Annotated[float, Meta(gt=0, le=1.4)] = 1.2
    "All that one turn waits for it, seconds; then the rules answer alone."
    json_schema: bool = True
    "Whether the server understands `response_format` with a JSON schema."
    options: dict[str, str | int | float | bool] = field(default_factory=lambda: {"temperature": 0, "max_tokens": 300})
    "Further fields of each call."


class Project(Config, frozen=True):
    """`daogou.toml` of a project directory, which also holds the store, `releases/` and `quarantine/`."""

    scenario: str = "shop"
    store: str = "sqlite:///store.sqlite3"
    "SQLAlchemy URL; a relative SQLite path is relative to the project."
    training: Training = Training()
    serving: Serving = Serving()
    language_model: LanguageModel | None = None
    directory: Path = field(default=Path(), name="directory")

    def load_scenario(self) -> Scenario:
        """The scenario that this project runs, with the settings that `daogou tune` found in the place of its own."""
        import msgspec

        scenario = load_scenario(self.scenario, self.directory)
        tuned = {name: {**scenario.models[name], **settings} for name, settings in read_tuned(self.directory).items() if name in scenario.models}
        return msgspec.structs.replace(scenario, models={**scenario.models, **tuned}) if tuned else scenario

    @property
    def store_url(self) -> str:
        """`store` with a relative SQLite path made absolute."""
        prefix = "sqlite:///"
        if self.store.startswith(prefix) and not self.store.startswith(prefix + "/"):
            return prefix + str((self.directory / self.store.removeprefix(prefix)).absolute())
        return self.store

    @property
    def releases(self) -> Path:
        return self.directory / "releases"

    @property
    def quarantine(self) -> Path:
        return self.directory / "quarantine"


class _Tuned(Config, frozen=True):
    """``tuned.toml`` of a project directory."""

    models: dict[str, dict[str, Any]] = {}


def read_tuned(directory: Path) -> dict[str, dict[str, Any]]:
    """Model → settings that `daogou tune` wrote into the project, where it has.

    Raises:
        ConfigError: the file is wrong.
    """
    file = directory / TUNED
    return read_toml(file, _Tuned).models if file.exists() else {}


def load_project(directory: Path) -> Project:
    """Reads `directory`/daogou.toml.

    Raises:
        ConfigError: the directory is no project, or the file is wrong.
    """
    import msgspec

    path = directory / "daogou.toml"
    if not path.exists():
        raise ConfigError("this directory is not a project: it has no daogou.toml", fix="daogou init DIR --scenario shop", where=str(directory))
    return msgspec.structs.replace(read_toml(path, Project), directory=directory)
