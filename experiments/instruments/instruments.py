"""Starts and stops the instruments of a run: capture and probes, two processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from experiments.record.capture_points import CapturePoint

#: Deadlines, in seconds, for an instrument to be ready, and to write its results.
READY_S = 20.0
WRITE_S = 120.0


#: Memory for all rings of a capture, as far as :data:`RING_BYTES` permits.
RINGS_BYTES = 96 << 20
#: The smallest and the largest ring of one interface.
RING_BYTES = (1 << 20, 4 << 20)


def ring_bytes(interfaces: int) -> int:
    """The size of each interface's ring.

    A busy machine may run the capture late by a tenth of a second and more. A small
    cluster can afford rings for that; in a large one each port has less traffic.
    """
    smallest, largest = RING_BYTES
    return min(largest, max(smallest, RINGS_BYTES // max(1, interfaces)))


class InstrumentError(RuntimeError):
    """An instrument did not start, or ended too early. The text gives the reason."""


class Instrument:
    """An instrument process. It writes ``ready``, and ``summary`` after SIGTERM.

    ``failed`` in place of either has the reason why it has ended.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        """Starts ``python -m experiments.instruments.NAME``; returns when it is ready.

        Raises :class:`InstrumentError` with the end of its standard error.
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
        """Sends a JSON line and waits for the event ``answer``; returns that event.

        Raises :class:`InstrumentError` if that event does not come.
        """
        stdin = self._pipe(self._process.stdin)
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:  # it has ended; its last event says why
            with suppress(BrokenPipeError):
                stdin.close()  # would try again to write the line
        return self._wait_for(answer, READY_S)

    def finish(self) -> dict[str, Any]:
        """Stops the instrument; returns its summary.

        Raises :class:`InstrumentError` if it has none.
        """
        self._process.send_signal(signal.SIGTERM)
        summary = self._wait_for("summary", WRITE_S)
        self._process.wait(WRITE_S)
        return summary

    def kill(self) -> None:
        """Kills the instrument if it still runs."""
        self._process.kill()
        self._process.wait()

    def _wait_for(self, event: str, timeout_s: float) -> dict[str, Any]:
        """Reads the next line, which must be that event. Kills the process at the timeout.

        Raises :class:`InstrumentError` for any other event, or none.
        """
        watchdog = threading.Timer(timeout_s, self._process.kill)
        watchdog.start()
        try:
            line = self._pipe(self._process.stdout).readline()
        finally:
            watchdog.cancel()
        found: dict[str, Any] = json.loads(line) if line else {}
        if found.get("event") == "failed":
            raise InstrumentError(f"{self.name}: {found['reason']}")
        if found.get("event") != event:
            raise InstrumentError(f"{self.name}: no {event!r}: {self._why(line)}")
        return found

    def _why(self, line: str) -> str:
        """Why an event did not come: what came instead, or how the process ended."""
        if line:
            return line.strip()
        self._process.kill()  # it has closed its output, so it ends anyhow
        status = self._process.wait()
        if status < 0:
            return f"it was ended by {signal.Signals(-status).name}"
        last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
        return " / ".join(last) or f"it ended with status {status}"

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None, "made with a pipe"
        return pipe


class Instruments:
    """Capture (unless ``capture`` is false) and probes of one run. They write to ``folder``."""

    def __init__(self, folder: Path, ports: Sequence[int], capture: bool) -> None:
        self.capture_file = folder / "capture.pcapng"
        self.sockets_file = folder / "sockets.jsonl"
        self._folder = folder
        self._probes: Instrument | None = None
        self._capture: Instrument | None = None
        self._ports = ports
        self._capturing = capture

    def start(self, points: Sequence[dict[str, Any]]) -> None:
        """Starts both. ``points``: results of :meth:`CapturePoint.to_json`."""
        log = self._folder / "hosts" / "instruments.log"
        ports = [argument for port in self._ports for argument in ("--port", str(port))]
        self._probes = Instrument(
            "probes", ["--output", str(self.sockets_file), *ports], log
        )
        if self._capturing:
            config = self._folder / "capture.json"
            config.write_text(
                json.dumps(
                    {
                        "output": str(self.capture_file),
                        "ring_bytes": ring_bytes(len(points)),
                        "interfaces": points,
                    }
                )
            )
            self._capture = Instrument("capture", ["--config", str(config)], log)

    def watch(self, point: CapturePoint, pid: int) -> None:
        """Captures one more interface, of a node or chassis added during the run."""
        if self._capture is not None:
            self._capture.request({"add": point.to_json(pid)}, "added")

    def finish(self, hosts: Mapping[str, int]) -> dict[str, Any]:
        """Stops both; returns their summaries: events, lost, packets, dropped.

        ``hosts``: every host of the run -> inode number of its network namespace.
        """
        summaries: dict[str, Any] = {}
        if self._capture is not None:
            summaries["capture"] = self._capture.finish()
        if self._probes is not None:
            names = {str(number): name for name, number in hosts.items()}
            self._probes.request({"hosts": names}, "named")
            summaries["probes"] = self._probes.finish()
        return summaries

    def kill(self) -> None:
        """Kills both if they still run."""
        for instrument in (self._capture, self._probes):
            if instrument is not None:
                instrument.kill()
