"""Whether a download can be had, and what to do where it cannot."""

import contextlib
import os
import threading

_NETWORK_SECONDS = 5.0


def responds(address: str) -> bool:
    """Whether a server answers in time, asked in a thread: looking up a name has no timeout."""
    import requests

    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError):
            if requests.head(address, timeout=_NETWORK_SECONDS).status_code < 500:
                answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_NETWORK_SECONDS)
    return answered.is_set()


def not_prepared(
    name: str, folder: str | os.PathLike[str], reason: str, load: str, prepare: str
) -> FileNotFoundError:
    """What to raise for a dataset that is not on disk and cannot be downloaded.

    Args:
      name: of the dataset.
      folder: where it was looked for.
      reason: why it was not downloaded.
      load: the Python that would download it.
      prepare: the script, with its flags, that makes it from files on disk.
    """
    return FileNotFoundError(
        f"dataset {name!r} is not prepared: nothing in {os.fspath(folder)}, and {reason}\n"
        "To prepare it with a network, if its files need not be fetched by hand:\n"
        f"  python -c '{load}'\n"
        "To prepare it without one, from its files in a folder:\n"
        f"  python -m experiments.{prepare}"
    )
