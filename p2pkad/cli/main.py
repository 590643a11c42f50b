"""The command `p2pkad`: what there is to type, and how each way to end becomes an exit code.

Each command lives in a module of its group, which is imported when the command is called: `p2pkad --help` loads neither
trio nor libp2p. Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from p2pkad import __version__
from p2pkad.cli.environment import Environment, File, Origins, strangers
from p2pkad.cli.exits import FAILED, INTERRUPTED, PIPE_CLOSED, TERMINATED, USAGE, exit_code, leaf
from p2pkad.cli.words import state_home
from p2pkad.errors import ConfigError, P2pkadError


@dataclass(frozen=True)
class Command:
    """A command. place: module and function. help: its first paragraph is a line of `p2pkad --help`.

    example: what `--help` of the command ends with.
    """

    name: str
    place: str
    help: str
    example: str


PEER = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWPeer"
LASTS = (
    "Through the running node it lasts: the node publishes it again in time, until it is told to stop. "
    "A client of the command, with --bootstrap or where no node runs, leaves: peers drop it after two days (their default)."
)
ITSELF = (
    "Where no node runs it says so, and ends with 2. With --bootstrap typed it is a client of the command that is looked at."
)
CONTENT = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

COMMANDS = (
    Command(
        "run",
        "p2pkad.cli.run:run",
        "Run a node until Ctrl-C or SIGTERM.",
        f"p2pkad run --validator demo=opaque --bootstrap {PEER}",
    ),
    Command(
        "put",
        "p2pkad.cli.values:put",
        f"Store a value under a key; prints who holds it.\n\n{LASTS}",
        "p2pkad put /demo/greeting hello",
    ),
    Command(
        "get",
        "p2pkad.cli.values:get",
        "Print the best value under a key, as it was stored.",
        f"p2pkad get /demo/greeting --validator demo=opaque --bootstrap {PEER}",
    ),
    Command(
        "stop-publishing",
        "p2pkad.cli.values:stop_publishing",
        "Let the running node publish nothing under a key any more.",
        "p2pkad stop-publishing /demo/greeting",
    ),
    Command(
        "provide",
        "p2pkad.cli.providers:provide",
        f"Announce that content is provided; prints who was told.\n\n{LASTS} "
        "The addresses announced then end with the command, unless --announce, or --listen with a port, names lasting ones.",
        f"p2pkad provide {CONTENT}",
    ),
    Command(
        "stop-providing",
        "p2pkad.cli.providers:stop_providing",
        "Let the running node announce content no more.",
        f"p2pkad stop-providing {CONTENT}",
    ),
    Command(
        "findprovs",
        "p2pkad.cli.providers:findprovs",
        "Print who provides content, as they are found.",
        f"p2pkad findprovs {CONTENT} --count 3",
    ),
    Command(
        "findpeer",
        "p2pkad.cli.peers:findpeer",
        "Print where a peer can be reached.",
        f"p2pkad findpeer 12D3KooWOther --bootstrap {PEER}",
    ),
    Command(
        "closest",
        "p2pkad.cli.peers:closest",
        "Print the live peers nearest to a key, nearest first.",
        f"p2pkad closest /demo/greeting --bootstrap {PEER}",
    ),
    Command(
        "ping",
        "p2pkad.cli.peers:ping",
        "Print the round trips to a peer.",
        f"p2pkad ping {PEER} --count 3",
    ),
    Command(
        "peers",
        "p2pkad.cli.peers:peers",
        f"Print the peers that the node is connected to or has in its routing table.\n\n{ITSELF}",
        "p2pkad peers --json",
    ),
    Command(
        "status",
        "p2pkad.cli.status:status",
        f"Print who and where the node is, whom it knows, what it keeps and what it does.\n\n{ITSELF}",
        "p2pkad status",
    ),
    Command(
        "doctor",
        "p2pkad.cli.doctor:doctor",
        f"Look for what is wrong with the node and its surroundings; exit code 1 when something is.\n\n{ITSELF}",
        "p2pkad doctor",
    ),
    Command(
        "config",
        "p2pkad.cli.settings_file:config",
        "Print a file of options with all of them in it, each with its default and what it is.",
        "p2pkad config",
    ),
    Command(
        "completion",
        "p2pkad.cli.manual:completion",
        "Print what a shell has to know to complete p2pkad's words.",
        "p2pkad completion bash",
    ),
    Command(
        "man",
        "p2pkad.cli.manual:man",
        "Print the manual page.",
        "p2pkad man",
    ),
    Command(
        "key new",
        "p2pkad.cli.key:new",
        "Make a key file, of mode 600, and print its peer id.",
        "p2pkad key new node.key",
    ),
    Command(
        "key show",
        "p2pkad.cli.key:show",
        "Print the peer id and the public key of a key file.",
        "p2pkad key show --json",
    ),
)

MORE = """\
--help of a command shows its options and an example. An option of several
values is typed once for each: --listen A --listen B. Each option is also read
from the environment: --dial-timeout as P2PKAD_DIAL_TIMEOUT, several values
separated by spaces, none at all where it is set and empty; and from a TOML
file, as `p2pkad config` prints one: $XDG_CONFIG_HOME/p2pkad/config.toml, or
what --config names. What is typed goes before the environment, and that before
the file.

Data goes to standard output, everything else to standard error. Exit codes:
0 done, 1 failed, 2 usage, 3 not found, 4 timed out; 130 and 143 stopped by
Ctrl-C or SIGTERM (run: 0), 141 nobody reads the output any more. P2PKAD_DEBUG=1
shows the traceback of an error."""


def make_app(origins: Origins | None = None) -> App:
    """The command line, without anything behind it yet. origins: where options that are not typed come from is noted there."""
    app = App(
        name="p2pkad",
        help="A libp2p-compatible Kademlia node.",
        help_epilogue=MORE,
        help_format="plaintext",
        version=__version__,
        config=[Environment("P2PKAD_", command=False, show=False), File(), Origins() if origins is None else origins],
        default_parameter=Parameter(negative=(), show_default=shown),
        exit_on_error=False,
        print_error=False,
    )
    for place, command in enumerate(COMMANDS):
        # In a line of its own, so that it can be copied whole.
        example = "Example:\n  " + command.example.replace(" --bootstrap", " \\\n      --bootstrap")
        *group, name = command.name.split()
        parent = _group(app, group[0], place) if group else app
        parent.command(command.place, name=name, help=command.help, help_epilogue=example, sort_key=place)
    return app


GROUPS = {"key": "Key files: a node's identity."}
"""Words that are followed by another one."""


def _group(app: App, name: str, place: int) -> App:
    if name not in app:
        app.command(App(name=name, help=GROUPS[name], help_format="plaintext", sort_key=place))
    return app[name]


def shown(default: object) -> str | None:
    """A default as it would be typed; None when there is nothing to type."""
    if isinstance(default, str) and default.endswith("/p2pkad") and default == state_home():
        return "$XDG_STATE_HOME/p2pkad"  # the same on every machine: documents are made of it
    if isinstance(default, tuple):
        return " ".join(default) or None
    return None if default is None or isinstance(default, bool) else str(default)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. arguments: None takes those of the process."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this: nobody wants to read it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as the process
    origins = Origins()
    try:
        command, bound, _ = make_app(origins).parse_args(arguments)
        if command.__module__.startswith("p2pkad.cli."):  # else it shows the help, or the version
            for sentence in strangers(os.environ, (each.place for each in COMMANDS)):
                _complain(f"warning: {sentence}")
        # From here on something may be open. Until the event loop takes over the signals they are exceptions.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        code = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ended:
        # What rich makes of a reader that has left (Console.on_broken_pipe), in the middle of a help.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        return _report(ended.__context__, origins)
    except Exception as error:
        return _report(leaf(error), origins)
    except BaseExceptionGroup as group:
        if isinstance(leaf(group), KeyboardInterrupt):  # while the event loop began
            return INTERRUPTED
        raise
    return code if isinstance(code, int) else 0


def _report(error: BaseException, origins: Origins) -> int:
    """One line on standard error, and the exit code."""
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left. The interpreter must not find that out a second time while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    if os.environ.get("P2PKAD_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, CycloptsError):
        superfluous = error.unused_tokens if isinstance(error, UnusedCliTokensError) else None
        what = f"{shlex.join(superfluous)}: nothing more is expected." if superfluous else str(error)
        _complain(f"{what} Try: {' '.join(('p2pkad', *(error.command_chain or ())))} --help")
        return USAGE
    if isinstance(error, P2pkadError | TimeoutError | OSError):
        _complain(f"{error}{origins.of(error.options)}" if isinstance(error, ConfigError) else str(error))
        return exit_code(error)
    _complain(f"this is a bug in p2pkad: {error!r}. P2PKAD_DEBUG=1 shows where it happened.")
    return FAILED


def _complain(sentence: str) -> None:
    print(f"p2pkad: {' '.join(sentence.split())}", file=sys.stderr)
