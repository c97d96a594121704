"""How every script reads its command line: absl flags, parsed anew at each call of its `main`."""

import io
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags

from mofn_jax import DEFAULT_BETAS, checks


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
    values: flags.FlagValues,
    name: str,
    default: Sequence[str | float] | None,
    about: str,
    *,
    known: Collection[str] | None = None,
    may_be_empty: bool = True,
) -> None:
    """Defines a list flag, of known words if they are given; default numbers are written short."""
    words = [word if isinstance(word, str) else f"{word:g}" for word in default or ()]
    flags.DEFINE_list(name, None if default is None else words, about, flag_values=values)
    if known is not None:
        flags.register_validator(
            name, set(known).issuperset, f"one of them is not of {sorted(known)}", values
        )
    if not may_be_empty:
        flags.register_validator(name, lambda words: words != [], "it is empty", values)


def define_seed(values: flags.FlagValues, about: str) -> None:
    """Defines the flag of a seed, an integer of 32 bits."""
    flags.DEFINE_integer("seed", 0, about, 0, checks.LARGEST_SEED, flag_values=values)


def define_folder(
    values: flags.FlagValues,
    name: str,
    default: str | None,
    about: str,
    *,
    is_written: bool = True,
    may_be_empty: bool = False,
) -> None:
    """Defines the flag of a folder that is there or can be made, and written to if it will be."""
    flags.DEFINE_string(name, default, about, flag_values=values)

    def check(folder: str | None) -> bool:
        if folder is None or (not folder and may_be_empty):
            return True
        try:
            path = checks.path(name, folder)
        except ValueError as error:
            raise flags.ValidationError(str(error)) from error
        there = next(place for place in (path, *path.parents) if place.exists())
        if not there.is_dir():
            raise flags.ValidationError(f"{there} is not a folder")
        if is_written and not os.access(there, os.W_OK):
            raise flags.ValidationError(f"{there} cannot be written to")
        return True

    flags.register_validator(name, check, flag_values=values)


def define_choices(values: flags.FlagValues, lengths: Sequence[int]) -> None:
    """Defines the flags that `choices` reads, with these default lengths."""
    about = "Prices of complexity: of each unit one rule is chosen at each of them."
    define_list(values, "betas", DEFAULT_BETAS, about)
    about = "Numbers of literals: of each unit the best rule of at most as many is chosen."
    define_list(values, "lengths", lengths, about)


def define_compilation_cache(values: flags.FlagValues) -> None:
    """Defines the flag that `use_compilation_cache` reads."""
    define_folder(
        values,
        "compilation_cache",
        f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/mofn_jax",
        "The folder in which what is compiled is kept for later runs; empty for none.",
        is_written=False,  # JAX goes on without it
        may_be_empty=True,
    )


def use_compilation_cache(options: flags.FlagValues) -> None:
    """Has JAX keep what it compiles in the folder that the flag names, if it names one."""
    if options.compilation_cache:
        folder = Path(options.compilation_cache).expanduser()
        try:
            str(folder).encode()
        except UnicodeEncodeError:  # letters that the locale does not have, nor JAX
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def numbers(
    name: str,
    words: Sequence[str],
    kind: Callable[[str], Any] = float,
    *,
    least: int = 0,
    most: int | None = None,
) -> list[Any]:
    """The numbers that a list flag holds, of a kind: float or int.

    Raises:
      flags.Error: a word is not such a number, finite, not below the least nor above the most.
    """
    values: list[Any] = []
    for word in words:
        try:
            if kind is int:
                values.append(checks.at_least(name, int(word), least, largest=most))
            else:
                values.append(checks.number(name, kind(word), least))
        except ValueError:
            what = "an integer" if kind is int else "a number"
            limit = "" if most is None else f" and at most {most}"
            raise flags.Error(
                f"{name}: {word!r} is not {what} of at least {least}{limit}"
            ) from None
    return values


def seeds(options: flags.FlagValues) -> list[int]:
    """The different seeds that the flag of that name asks for.

    Raises:
      flags.Error: as `numbers`.
    """
    return list(dict.fromkeys(numbers("seeds", options.seeds, int, most=checks.LARGEST_SEED)))


def choices(options: flags.FlagValues) -> dict[str, list[Any]]:
    """The betas and lengths that the flags of these names ask for.

    Raises:
      flags.Error: as `numbers`, or none of either.
    """
    betas = numbers("betas", options.betas)
    lengths = numbers("lengths", options.lengths, int, least=1)
    if not betas and not lengths:
        raise flags.Error("betas: expected at least one number, or lengths, got none")
    return {"betas": betas, "lengths": lengths}


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a script's `main` on the command line; what is wrong there ends it with one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # of letters that a terminal does not have
    try:
        main(sys.argv)
    except flags.Error as error:
        sys.exit(f"{error} (--help shows the flags)")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error) or type(error).__name__)
    except KeyboardInterrupt:
        sys.exit("interrupted")
