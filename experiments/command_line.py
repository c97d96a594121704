"""How every script reads its command line: absl flags, parsed anew at each call of its `main`."""

import sys
from collections.abc import Callable, Sequence

from absl import flags


def parse(
    define: Callable[[flags.FlagValues], None], argv: Sequence[str], about: str | None
) -> flags.FlagValues:
    """The script's flags.

    Args:
      define: defines the flags on the values it is given.
      argv: the command line, the program's name first.
      about: the script's docstring, printed by --help above the flags.

    Raises:
      flags.Error: an unknown flag, a value it does not take, a stray argument.
    """
    values = flags.FlagValues()
    define(values)
    if {"--help", "-h"} & set(argv):  # before parsing, which asks for required flags
        print(about, values.get_help(), sep="\n")
        sys.exit(0)
    _, *stray = values(argv)
    if stray:
        raise flags.Error(f"unexpected arguments: {' '.join(stray)}")
    return values


def define_list(
    values: flags.FlagValues, name: str, default: Sequence[str | float], about: str
) -> None:
    """Defines a list flag; numbers among the default are written short."""
    words = [word if isinstance(word, str) else f"{word:g}" for word in default]
    flags.DEFINE_list(name, words, about, flag_values=values)


def numbers(name: str, words: Sequence[str]) -> list[float]:
    """The numbers that a list flag holds.

    Raises:
      flags.Error: a word is not a number.
    """
    values = []
    for word in words:
        try:
            values.append(float(word))
        except ValueError:
            raise flags.Error(f"{name}: {word!r} is not a number") from None
    return values


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a script's `main` on the command line; a wrong flag ends it with a line that says so."""
    try:
        main(sys.argv)
    except flags.Error as error:
        sys.exit(f"{error} (--help shows the flags)")
