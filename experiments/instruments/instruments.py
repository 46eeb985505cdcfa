"""The instruments of a run: the capture and the probes, as two processes beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from experiments.record.capture_points import CapturePoint

#: How long an instrument may take to be ready, and to write what it has, in seconds.
READY_S = 20.0
WRITE_S = 120.0


class InstrumentError(RuntimeError):
    """An instrument did not start, or ended before its time; the text says why."""


class Instrument:
    """One program of ours that says ``ready``, and after SIGTERM ``summary``."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        """Starts ``python -m experiments.NAME``; returns once it is ready.

        Raises :class:`InstrumentError` with what it said on standard error.
        """
        self.name = name
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"experiments.instruments.{name}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._wait_for("ready", READY_S)

    def request(self, request: Mapping[str, Any], answer: str) -> dict[str, Any]:
        """Says a JSON line to it and waits for its answer of that name."""
        stdin = self._pipe(self._process.stdin)
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        return self._wait_for(answer, READY_S)

    def finish(self) -> dict[str, Any]:
        """Ends it in good order; what it says of its whole work."""
        self._process.send_signal(signal.SIGTERM)
        summary = self._wait_for("summary", WRITE_S)
        self._process.wait(WRITE_S)
        return summary

    def kill(self) -> None:
        """Ends it at once, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def _wait_for(self, event: str, timeout_s: float) -> dict[str, Any]:
        """The next line, which must be that event. A silent one is ended."""
        watchdog = threading.Timer(timeout_s, self._process.kill)
        watchdog.start()
        try:
            line = self._pipe(self._process.stdout).readline()
        finally:
            watchdog.cancel()
        said: dict[str, Any] = json.loads(line) if line else {}
        if said.get("event") != event:
            last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
            raise InstrumentError(
                f"{self.name}: no {event!r}: {line.strip() or ' / '.join(last)}"
            )
        return said

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None, "made with a pipe"
        return pipe


class Instruments:
    """Capture (unless ``capture`` is false) and probes of one run, into ``folder``."""

    def __init__(self, folder: Path, ports: Sequence[int], capture: bool) -> None:
        self.capture_file = folder / "capture.pcapng"
        self.sockets_file = folder / "sockets.jsonl"
        self._folder = folder
        self._probes: Instrument | None = None
        self._capture: Instrument | None = None
        self._ports = ports
        self._capturing = capture

    def start(self, points: Sequence[dict[str, Any]]) -> None:
        """Starts both; ``points`` as :meth:`CapturePoint.to_json` writes them."""
        log = self._folder / "hosts" / "instruments.log"
        ports = [argument for port in self._ports for argument in ("--port", str(port))]
        self._probes = Instrument(
            "probes", ["--output", str(self.sockets_file), *ports], log
        )
        if self._capturing:
            config = self._folder / "capture.json"
            config.write_text(
                json.dumps({"output": str(self.capture_file), "interfaces": points})
            )
            self._capture = Instrument("capture", ["--config", str(config)], log)

    def watch(self, point: CapturePoint, pid: int) -> None:
        """Captures one more interface, of a node or chassis that came live."""
        if self._capture is not None:
            self._capture.request({"add": point.to_json(pid)}, "added")

    def finish(self, hosts: Mapping[str, int]) -> dict[str, Any]:
        """Ends both; what they say of themselves: events, lost, packets, dropped.

        ``hosts``: every host of the run, and its network namespace's inode number.
        """
        said: dict[str, Any] = {}
        if self._capture is not None:
            said["capture"] = self._capture.finish()
        if self._probes is not None:
            names = {str(number): name for name, number in hosts.items()}
            self._probes.request({"hosts": names}, "named")
            said["probes"] = self._probes.finish()
        return said

    def kill(self) -> None:
        """Ends both at once, whatever they are at."""
        for instrument in (self._capture, self._probes):
            if instrument is not None:
                instrument.kill()
