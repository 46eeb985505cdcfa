"""Records of real, good runs, small enough to keep: to be judged again, and to be
changed, one fact at a time.

There is one of each shipped scenario, with ``flood``, one of ``drain-node`` with each of
some policies, and one whose clients hold locks (``postgres``). ``spec.yaml`` says which run it was; ``figures.json`` what the run itself
came to. They are made again, from a run's folder, when the format of a record changes::

    ./resetbed run drain-node --set policy=flood --set workload.kind=echo \
        --set workload.connections=24 --set workload.interval_ms=150 \
        --set cluster.clients=1 --set steady_s=0.2 --set observe_s=1.5 --out DIR
    python -m tests.experiments.golden_runs DIR flood
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.analysis.analysis import analyse
from experiments.analysis.observations import Observation, parse_packet
from experiments.record.pcapng import PcapngWriter, open_pcapng
from experiments.record.record_file import FILE, read_record
from experiments.record.socket_events import SocketEvent
from experiments.results.summary import summarise
from experiments.spec.run_spec import RunSpec
from experiments.sweep.figures import FIGURES
from nodes.servers.lock_log import LOCK_LOG
from topologies.domain.connection import FourTuple

FOLDER = Path(__file__).with_name("golden")
#: What a record keeps of a run's folder; the large ones are compressed.
KEPT = ("spec.yaml", FILE, "sockets.jsonl", "capture.pcapng", "hosts/h1.jsonl")
#: Of workloads that hold locks.
LOCKS = f"hosts/{LOCK_LOG}"


@dataclass
class Frame:
    """One captured segment, with its fields."""

    seen: Observation
    data: bytes
    length: int


@dataclass
class GoldenRun:
    """A record in memory: ``record`` is its ``record.json``, ``report`` the client's lines,
    ``locks`` the lines of the lock monitor."""

    spec: dict[str, Any]
    record: dict[str, Any]
    frames: list[Frame]
    sockets: list[SocketEvent]
    report: list[dict[str, Any]]
    locks: list[dict[str, Any]]

    @classmethod
    def load(cls, name: str) -> GoldenRun:
        """The record of that name."""
        files = {file: _unpacked(name, file) for file in KEPT}
        return cls(
            yaml.load(files["spec.yaml"], Loader=yaml.CSafeLoader),
            json.loads(files[FILE]),
            _frames(files["capture.pcapng"]),
            [
                SocketEvent.from_line(line)
                for line in files["sockets.jsonl"].decode().splitlines()
            ],
            [json.loads(line) for line in files["hosts/h1.jsonl"].splitlines()],
            [json.loads(line) for line in _locks(name).splitlines()],
        )

    def summary(self, folder: Path) -> dict[str, Any]:
        """The summary of the real analysis, through files in ``folder``."""
        self.write(folder)
        record = read_record(folder)
        spec = RunSpec.model_validate(self.spec)
        return summarise(spec, record, analyse(record), folder / "hosts")

    def write(self, folder: Path) -> None:
        """A run's folder as it is before anything has been judged."""
        (folder / "hosts").mkdir(exist_ok=True)
        (folder / "spec.yaml").write_text(yaml.dump(self.spec, Dumper=yaml.CSafeDumper))
        (folder / FILE).write_text(json.dumps(self.record))
        self._write_capture(folder / "capture.pcapng")
        sockets = "".join(event.to_line() for event in sorted(self.sockets))
        (folder / "sockets.jsonl").write_text(sockets)
        lines = "".join(json.dumps(line) + "\n" for line in self.report)
        (folder / "hosts" / "h1.jsonl").write_text(lines)
        looks = "".join(json.dumps(line) + "\n" for line in self.locks)
        (folder / LOCKS).write_text(looks)

    def drop_frames(self, unwanted: Callable[[Observation], bool]) -> None:
        """As if these had not been captured. There must be some."""
        kept = [frame for frame in self.frames if not unwanted(frame.seen)]
        assert len(kept) < len(self.frames)
        self.frames = kept

    def drop_sockets(self, unwanted: Callable[[SocketEvent], bool]) -> None:
        """As if the kernel had not reported these. There must be some."""
        kept = [event for event in self.sockets if not unwanted(event)]
        assert len(kept) < len(self.sockets)
        self.sockets = kept

    def hold(self, connection: FourTuple, node: str) -> None:
        """The node's kernel has a socket of it at the end."""
        held = self.record["held_after"]
        for other, nodes in held:
            if FourTuple(*other) == connection:
                nodes.append(node)
                return
        held.append([list(connection), [node]])

    def _write_capture(self, path: Path) -> None:
        labels = dict.fromkeys(frame.seen.label for frame in self.frames)
        with path.open("wb") as stream:
            writer = PcapngWriter(stream)
            numbers = {label: writer.add_interface(label) for label in labels}
            for frame in sorted(self.frames, key=lambda one: one.seen.time_ns):
                seen = frame.seen
                number = numbers[seen.label]
                writer.packet(
                    number, seen.time_ns, frame.data, frame.length, seen.outgoing
                )


def _frames(capture: bytes) -> list[Frame]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(capture)
        file.flush()
        with open_pcapng(file.name) as reader:
            return [
                Frame(seen, bytes(packet.data), packet.length)
                for packet in reader.packets()
                if (
                    seen := parse_packet(
                        reader.interfaces[packet.interface].label, packet
                    )
                )
            ]


def _packed(name: str, file: str) -> Path:
    return FOLDER / name / (file.replace("/", "-") + ".gz")


def _unpacked(name: str, file: str) -> bytes:
    return gzip.decompress(_packed(name, file).read_bytes())


def _locks(name: str) -> bytes:
    return _unpacked(name, LOCKS) if _packed(name, LOCKS).exists() else b""


def figures_of(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of sweeps and reports, by name."""
    return {figure.name: figure.of(summary) for figure in FIGURES}


def main(source: str, name: str) -> None:
    """Packs a run's folder into the record of that name."""
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    summary = json.loads((Path(source) / "summary.json").read_text())
    figures = json.dumps(figures_of(summary), indent=1)
    (FOLDER / name / "figures.json").write_text(f"{figures}\n")
    for file in KEPT:
        data = (Path(source) / file).read_bytes()
        if file == FILE:
            data = _without_paths(data)
        _packed(name, file).write_bytes(gzip.compress(data, mtime=0))
    if (Path(source) / LOCKS).exists():
        data = (Path(source) / LOCKS).read_bytes()
        _packed(name, LOCKS).write_bytes(gzip.compress(data, mtime=0))


def _without_paths(record: bytes) -> bytes:
    """The record without the command that made it: it names folders of one machine."""
    fields = json.loads(record)
    fields["provenance"].pop("command", None)
    return json.dumps(fields).encode()


if __name__ == "__main__":
    main(*sys.argv[1:])
