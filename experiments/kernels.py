"""The library's compiled functions as they are called, to compile them for other devices.

Lists of kernels and of their shapes go out of date. Here the library itself says both: its source,
where it has a function compiled, and a run that is recorded, with what.
"""

import ast
import importlib
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax

import mofn_jax
from mofn_jax import meshes

_Jitted: Any = type(jax.jit(lambda: None))


class Call(NamedTuple):
    """A call of a compiled function."""

    name: str  # module and function, and a function among its options
    site: str  # module and function where it is compiled
    function: Any  # jitted
    arguments: tuple[Any, ...]  # the arrays among them as jax.ShapeDtypeStruct
    options: Mapping[str, Any]
    device_bytes: int  # of the arrays that are on the device already

    def traced(self, sharding: jax.sharding.Sharding | None = None) -> Any:
        """As it would be called, of arrays that lie there."""
        arguments = jax.tree.map(
            lambda leaf: (
                jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
                if isinstance(leaf, jax.ShapeDtypeStruct)
                else leaf
            ),
            self.arguments,
        )
        return self.function.trace(*arguments, **self.options)


def jit_sites() -> set[str]:
    """Every "module.function" of the library that is compiled, or has a function compiled."""
    sites = set()
    for name, module in _modules().items():
        for node in ast.parse(Path(str(module.__file__)).read_text()).body:
            if any(isinstance(n, ast.Attribute) and n.attr == "jit" for n in ast.walk(node)):
                sites.add(f"{name}.{getattr(node, 'name', '')}")
    return sites


def _modules() -> dict[str, Any]:
    """The library's modules, by their names in it."""
    names = [info.name for info in pkgutil.walk_packages(mofn_jax.__path__, "mofn_jax.")]
    return {name.removeprefix("mofn_jax."): importlib.import_module(name) for name in names}


@contextmanager
def recorded(
    platform: str, answer: Callable[[Call], Any] | None = None, *, carried_out: Sequence[str] = ()
) -> Iterator[list[Call]]:
    """Records the calls of compiled functions, as they are made on some platform.

    What is traced inside is as on that platform; a `while_loop` has a scope that `loop_name` knows.

    Args:
      platform: where the library believes that it works: "cpu", "gpu", "tpu".
      answer: what a call returns; None for what it returns here.
      carried_out: the modules whose functions return what they return here even so.
    """
    calls: list[Call] = []

    def record(site: str, function: Any) -> Callable:
        is_carried_out = answer is None or site.partition(".")[0] in carried_out
        return _Recorder(site, function, calls, None if is_carried_out else answer)

    def jit(function: Callable, **options: Any) -> Any:
        """As jax.jit, of what the library has compiled while it runs."""
        jitted, caller = original(function, **options), sys._getframe(1)
        module = caller.f_globals["__name__"]
        if not module.startswith("mofn_jax."):
            return jitted
        site = caller.f_code.co_qualname.split(".")[0]
        return record(f"{module.removeprefix('mofn_jax.')}.{site}", jitted)

    original, modules = jax.jit, _modules()
    jitted = {
        value: f"{name}.{attribute}"
        for name, module in modules.items()
        for attribute, value in vars(module).items()
        if isinstance(value, _Jitted) and value.__module__ == module.__name__
    }
    recorders = {function: record(site, function) for function, site in jitted.items()}
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(meshes, "platform", return_value=platform))
        patches.enter_context(mock.patch("jax.jit", jit))
        patches.enter_context(mock.patch("jax.lax.while_loop", _named_loop))
        for module in modules.values():
            for attribute, value in list(vars(module).items()):
                if isinstance(value, _Jitted) and value in recorders:
                    replaced = mock.patch.object(module, attribute, recorders[value])
                    patches.enter_context(replaced)
        _forget(modules)
        patches.callback(_forget, modules)
        yield calls


_LOOP = "loop_of_"
_while_loop = jax.lax.while_loop


def loop_name(op_name: str) -> str | None:
    """The function of the library whose `while_loop` this instruction is, or is in."""
    return re.findall(rf"{_LOOP}(\w+)", op_name)[-1] if _LOOP in op_name else None


def _named_loop(goes_on: Callable, step: Callable, start: Any) -> Any:
    with jax.named_scope(_LOOP + _function_of(goes_on)):
        return _while_loop(goes_on, step, start)


def _function_of(inner: Callable) -> str:
    return inner.__qualname__.split(".")[0]


@contextmanager
def counted_rounds() -> Iterator[dict[str, list[int]]]:
    """How often each `while_loop` of the library goes round, one after the other, by its function.

    Of units that work is done on one at a time, on one core: their loops stand in order.
    """
    rounds: dict[str, list[int]] = defaultdict(list)

    def counted_loop(goes_on: Callable, step: Callable, start: Any) -> Any:
        def counted_step(state: Any) -> Any:
            return step(state[0]), state[1] + 1

        end, count = _while_loop(lambda state: goes_on(state[0]), counted_step, (start, 0))
        add = rounds[_function_of(goes_on)].append
        jax.debug.callback(lambda count: add(int(count)), count, ordered=True)
        return end

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(meshes, "cpu_count", return_value=1))
        patches.enter_context(mock.patch("jax.lax.while_loop", counted_loop))
        modules = _modules()
        _forget(modules)
        patches.callback(_forget, modules)
        yield rounds
        jax.effects_barrier()


def _forget(modules: Mapping[str, Any]) -> None:
    """What is compiled and kept: it may be for another platform, or without being recorded."""
    jax.clear_caches()
    for module in modules.values():
        for value in vars(module).values():
            if hasattr(value, "cache_clear") and value.__module__ == module.__name__:
                value.cache_clear()


class _Recorder:
    def __init__(
        self, site: str, function: Any, calls: list[Call], answer: Callable[[Call], Any] | None
    ):
        self.site, self.function, self.calls, self.answer = site, function, calls, answer

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        leaves = jax.tree.leaves((arguments, options))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):  # inside another one
            return self.function(*arguments, **options)
        parts = [value.__name__ for value in options.values() if hasattr(value, "__name__")]
        call = Call(
            f"{self.site}[{', '.join(parts)}]" if parts else self.site,
            self.site,
            self.function,
            jax.tree.map(_abstract, arguments),
            options,
            sum(leaf.nbytes for leaf in leaves if isinstance(leaf, jax.Array)),
        )
        self.calls.append(call)
        return self.function(*arguments, **options) if self.answer is None else self.answer(call)


def _abstract(leaf: Any) -> Any:
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
