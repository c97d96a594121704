"""Python processes of their own, for what must be set before JAX starts: devices, other hosts."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

ROOT = Path(__file__).parent.parent


def run_side_by_side(*arguments, num_devices=1, timeout=150):
    """What `python -W error -m ...` prints for each of these arguments, with CPU devices each."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(num_devices)}
    with ExitStack() as stack:
        running = []
        for some in arguments:
            # Not into pipes: a process whose pipe is full would keep the others waiting.
            files = [stack.enter_context(TemporaryFile("w+")) for _ in range(2)]
            command = [sys.executable, "-W", "error", "-m", *map(str, some)]
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=files[0], stderr=files[1]
            )
            running.append((stack.enter_context(process), *files))
            stack.callback(process.kill)
        printed = []
        for process, *files in running:
            code = process.wait(timeout)
            for file in files:
                file.seek(0)
            output, errors = (file.read() for file in files)
            assert code == 0, errors
            printed.append(output)
    return printed


def free_address():
    """HOST:PORT for the first of several processes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
