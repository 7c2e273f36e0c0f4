"""How commands talk: one line per error, a bar on a terminal, JSON lines in a pod."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO, TypeVar

import click
from click.core import ParameterSource

from cropmask.contract import ENV_CONFIG, ENV_LOG_FORMAT, ExitCode
from cropmask.errors import CropmaskError, Drained, Interrupted, Misconfigured, OutOfMemory, Reason
from cropmask.site.configuration import ConfigFile, find_config

if TYPE_CHECKING:
    from tqdm import tqdm

    from cropmask.machine.stages import Progress

Command = TypeVar("Command", bound=Callable[..., Any])

HELP_SETTINGS: Final = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "show_default": True,
}
"""Settings of the programs' contexts, which their commands inherit."""
LOG_FORMATS: Final = ("auto", "text", "json")
CONFIG: Final = "cropmask.config"
"""What contexts remember: the path that ``--config`` gave, to a command or to the program."""
_CONFIG_FILE: Final = "cropmask.config_file"

STAGES: Final = {
    "start": "starting",
    "demo world": "making the demo world (first use only)",
    "demo region": "making the made-up region",
    "tiles": "reading tiles",
    "search": "finding GeoMAD",
    "load": "opening rasters and model",
    "classify": "classifying",
    "segment": "segmenting",
    "mask": "masking",
    "write": "writing",
    "items": "reading items",
    "send": "sending tasks",
    "canary": "waiting for the canary",
    "check": "checking",
    "publish": "publishing",
    "index": "indexing",
    "map tiles": "cutting tiles of the map",
    "map archive": "fetching MapLibre from npm",
    "browser archive": "fetching STAC Browser from npm",
    "browser packages": "fetching the packages it needs",
    "browser build": "compiling STAC Browser",
}
_LINE_SECONDS: Final = 5.0
"""How long a slow command is silent at most, where lines tell how far it is."""
_FIELDS: Final = ("run", "tile", "attempt", "stage")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the fields that say which tile it is about."""

    def __init__(self, context: Mapping[str, str]) -> None:
        super().__init__()
        self._context = dict(context)

    def format(self, record: logging.LogRecord) -> str:
        """Text of a record."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            **self._context,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        line |= getattr(record, "extra_fields", {})
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Lines of text; on a terminal, warnings are yellow and errors red."""

    def format(self, record: logging.LogRecord) -> str:
        """Text of a record."""
        text = super().format(record)
        if record.levelno < logging.WARNING or not is_colored(sys.stderr):
            return text
        return click.style(text, fg="red" if record.levelno >= logging.ERROR else "yellow")


class TextHandler(logging.StreamHandler[Any]):
    """Text lines that do not tear a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record above the bar."""
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def is_json(log_format: str) -> bool:
    """Whether to log JSON lines: where asked for, else where nobody looks at a terminal."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def find_log_format(arguments: list[str], environ: Mapping[str, str]) -> str:
    """Log format of a command line, known before it is parsed so that errors obey it."""
    named = _find_option(arguments, "--log-format") or environ.get(ENV_LOG_FORMAT)
    if not named:
        with suppress(CropmaskError):  # said when the command asks for it
            config = find_config(_find_option(arguments, "--config"), environ)
            named = config.texts.get(ENV_LOG_FORMAT)
    return named if named in LOG_FORMATS else "auto"


def _find_option(arguments: list[str], name: str) -> str | None:
    """Last value of an option in a command line that is not parsed yet."""
    given = [
        following if word == name else word.partition("=")[2]
        for word, following in zip(arguments, [*arguments[1:], ""], strict=False)
        if word == name or word.startswith(f"{name}=")
    ]
    return given[-1] if given else None


def make_config_option(*, expose_value: bool) -> Callable[[Command], Command]:
    """The option ``--config``, of the program and of its commands."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),
        is_eager=True,  # known before a setting is asked for
        callback=_name_config,
        expose_value=expose_value,
        help="File of settings.  [default: the nearest cropmask.toml, here or in a folder above; "
        f"env var: {ENV_CONFIG}]",
    )


def _name_config(
    context: click.Context, _option: click.Parameter, value: Path | None
) -> Path | None:
    """Remember the file of settings, or recall the one that was given to the program."""
    context.meta[CONFIG] = value or context.meta.get(CONFIG)
    found: Path | None = context.meta[CONFIG]
    return found


def context_config(context: click.Context) -> ConfigFile:
    """The file of settings of a command, read once."""
    if _CONFIG_FILE not in context.meta:
        context.meta[_CONFIG_FILE] = find_config(context.meta.get(CONFIG), os.environ)
    found: ConfigFile = context.meta[_CONFIG_FILE]
    return found


def find_color(environ: Mapping[str, str]) -> bool | None:
    """Whether output has colors, terminal or not; None where a terminal decides.

    NO_COLOR goes before FORCE_COLOR and CLICOLOR_FORCE, and these before a dumb terminal.
    """
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return False if environ.get("TERM") == "dumb" else None


def is_colored(stream: TextIO) -> bool:
    """Whether what is written to a stream has colors."""
    chosen = find_color(os.environ)
    return stream.isatty() if chosen is None else chosen


def warn(text: str) -> None:
    """Say something to whoever types the command that is no error."""
    click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)


def warn_if_absent(place: str) -> None:
    """Say that a folder of results does not exist: it may be mistyped, or nothing is mapped yet."""
    folder = place.removeprefix("file://")
    if "://" not in folder and not Path(folder).is_dir():
        warn(f"{folder} is not there")


def open_logging(log_format: str, context: Mapping[str, str] | None = None) -> None:
    """Send logs to stderr; ``context`` is on every JSON line, its ``tile`` on every other."""
    if sys.stderr is None:  # closed by whoever started us
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (for the life of the process)
    handler: logging.Handler
    if is_json(log_format):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter(context or {}))
    else:
        handler = TextHandler()
        about = (context or {}).get("tile")
        handler.setFormatter(TextFormatter(f"{about}: %(message)s" if about else "%(message)s"))
    # rasterio warns of a picture without coordinates, which is meant to have none. Its class of
    # this warning is not named here, because rasterio takes long to load.
    warnings.filterwarnings("ignore", "Dataset has no geotransform|The given matrix is equal to")
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("cropmask").setLevel(logging.INFO)
    # They warn of failures that are counted here as well; a line for each retry is enough.
    for noisy in ("rasterio", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@contextmanager
def show_progress(
    log_format: str = "text", *, quiet: bool = False, lines: bool = False
) -> Iterator[Progress]:
    """Show stages while a block runs: a bar on a terminal, JSON lines, or nothing if quiet.

    With ``lines``, what takes long is also told where there is no terminal, by lines of text.
    """
    if quiet:
        yield lambda _stage, _share: None
        return
    if is_json(log_format):
        yield _ProgressLines()
        return
    if lines and not sys.stderr.isatty():
        yield _SlowLines()
        return
    bar = _ProgressBar()
    try:
        yield bar
    finally:
        bar.close()


class _ProgressBar:
    """A bar for each stage; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __call__(self, stage: str, share: float) -> None:
        if stage != self._stage:
            self._begin(stage)
        if self._bar is not None:
            self._bar.update(max(0.0, 100 * min(share, 1.0) - self._bar.n))

    def _begin(self, stage: str) -> None:
        from tqdm import tqdm

        if self._bar is not None:
            self._bar.update(100 - self._bar.n)  # the stage before is done
        self.close()
        layout = "{desc:<38} {percentage:3.0f}% |{bar}| {elapsed}"
        self._bar = tqdm(total=100, desc=STAGES.get(stage, stage), bar_format=layout, disable=None)
        self._stage = stage

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _ProgressLines:
    """A log line at each tenth of a stage."""

    def __init__(self) -> None:
        self._last: tuple[str, int] = ("", -1)

    def __call__(self, stage: str, share: float) -> None:
        now = (stage, int(10 * share))
        if now != self._last:
            self._last = now
            fields = {"stage": stage, "percent": 10 * now[1]}
            logging.getLogger("cropmask.progress").info(
                "%s", STAGES.get(stage, stage), extra={"extra_fields": fields}
            )


class _SlowLines:
    """A line of text now and then, so that nobody takes a slow command for a stuck one."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS:
            self._last = now
            words = f"{now - self._begun:4.0f} s  {STAGES.get(stage, stage)}: {100 * share:.0f} %"
            click.echo(words, err=True)


class _Terminated(BaseException):
    """SIGTERM arrived. No Exception: whoever catches those, as logging does, must not catch it."""


STOPPED: Final = (KeyboardInterrupt, _Terminated)
"""How a command learns that somebody wants it to stop."""


class _Misused(CropmaskError):
    """The command line is wrong."""

    exit_code = ExitCode.USAGE


def run_click(
    command: click.Command, log_format: str = "text", stopped: str = "stopped by a signal"
) -> NoReturn:
    """Run a click command and end the process with its documented exit code.

    A user's mistake and a failing world give one line; anything else is a bug and shows where.
    ``stopped`` is said of a signal.
    """
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        with _translate_errors(stopped):
            command.main(standalone_mode=False, color=find_color(os.environ))
    except CropmaskError as error:
        _print_error(error, log_format)
        sys.exit(error.exit_code)
    except Exception:
        logging.getLogger("cropmask").exception("a fault of the program, please report it")
        sys.exit(ExitCode.FAILED)
    sys.exit(ExitCode.DONE)


def _raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


@contextmanager
def _translate_errors(stopped: str) -> Iterator[None]:
    """Turn errors of click, of the system and signals into errors with an exit code."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.UsageError as error:
        raise _Misused(_describe_misuse(error), reason=Reason.USAGE) from None
    except click.ClickException as error:
        raise Misconfigured(error.format_message()) from None
    except (*STOPPED, click.Abort):
        raise Drained(stopped) from None
    except MemoryError:
        raise OutOfMemory("out of memory: give a coarser --resolution") from None
    except SystemExit as end:
        if end.code != 1:
            raise
        # click's own way of saying that a pipe broke: our output, or a connection.
        raise _translate_os_error(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))) from None
    except OSError as error:
        raise _translate_os_error(error) from None


def _translate_os_error(error: OSError) -> CropmaskError:
    """The error that a failure of the system is; ends quietly if the reader of a pipe has left."""
    if isinstance(error, BrokenPipeError) and _has_reader_left():
        sys.stderr.close()
        sys.exit(ExitCode.DONE)
    from cropmask.remote.localfiles import find_full_disk

    refused = Interrupted(f"the system refused: {error}: see to it and run again")
    return find_full_disk(error) or refused


def _has_reader_left() -> bool:
    """Whether the pipe that broke is our own output, as with ``| head``, and not a connection."""
    streams = select.poll()
    for stream in (1, 2):
        streams.register(stream, 0)
    return any(event & select.POLLERR for _, event in streams.poll(0))


def _print_error(error: CropmaskError, log_format: str) -> None:
    # Who mistypes a command reads its answer, also through a pipe; logs are what programs read.
    if log_format == "json" or (is_json(log_format) and not isinstance(error, _Misused)):
        fields = {"reason": error.reason, "exit_code": int(error.exit_code)}
        logging.getLogger("cropmask").error("%s", error, extra={"extra_fields": fields})
    else:
        word = click.style("error:", fg="red")
        click.echo(f"{word} {error}", err=True, color=find_color(os.environ))


def _describe_misuse(error: click.UsageError) -> str:
    """One line: what is wrong with the command line, and where it is explained."""
    text = " ".join(error.format_message().split()).removesuffix(".")
    context, parameter = error.ctx, getattr(error, "param", None)
    if context and parameter and parameter.envvar:
        text += _say_source(context, parameter)
    path = context.command_path if context else ""
    text += _guess_command(context, text) if context else ""
    return f"{text}: see '{path} --help'" if path else text


def _say_source(context: click.Context, parameter: click.Parameter) -> str:
    """Where the value of an option is from, if it was not typed."""
    source = context.get_parameter_source(parameter.name or "")
    if source is ParameterSource.ENVIRONMENT:
        names = parameter.envvar
        return f" ({names if isinstance(names, str) else ' or '.join(names or ())})"
    if source is ParameterSource.DEFAULT_MAP:
        return f" ({context_config(context).place(str(parameter.envvar))})"
    return ""


def _guess_command(context: click.Context, text: str) -> str:
    """What a command that does not exist may have meant."""
    unknown = re.fullmatch(r"No such command ['\"](.+)['\"]", text)
    if unknown is None or not isinstance(context.command, click.Group):
        return ""
    near = get_close_matches(unknown[1], context.command.list_commands(context), n=2, cutoff=0.5)
    return f", did you mean {' or '.join(near)}?" if near else ""


def confirm(question: str) -> None:
    """Ask before something is deleted; an error if the answer is no, or nobody is there."""
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: give --yes to delete, or --dry-run")
    if not click.confirm(question, default=False):
        raise Misconfigured("nothing was deleted")
