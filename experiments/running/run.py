"""One experiment from beginning to end, inside its sandbox.

Cluster up -> instruments -> clients open their connections -> steady -> events at their
times -> observation -> sockets that every kernel holds -> clients verify and end ->
instruments end -> cluster down -> record -> analysis -> ``summary.json``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from experiments.cluster import control
from experiments.cluster.live_cluster import Cluster, ClusterOptions, Progress
from experiments.cluster.live_view import LiveView
from experiments.cluster.pins import pin_cost
from experiments.cluster.status import counters
from experiments.instruments.instruments import Instruments
from experiments.instruments.socket_table import sockets_of
from experiments.machine.provenance import provenance
from experiments.prediction.predict import split_evenly
from experiments.record.capture_points import CapturePoint, capture_points
from experiments.record.record_file import write_record
from experiments.record.run_record import RunRecord, Snapshots
from experiments.results.judge import SPEC, judge_folder
from experiments.running.opening import OpeningProgress, OpeningStalled, await_opened
from experiments.spec.run_spec import RunSpec
from nodes.clients.client_report import ClientReport, parse_report
from topologies.domain.connection import FourTuple
from topologies.domain.events.link_change import described

#: A client's own deadline from SIGTERM to exit is 5 s; it is not killed before that.
CLIENT_GRACE_S = 8.0


class RunError(RuntimeError):
    """The experiment failed. The text gives the step and the reason."""


def run_experiment(
    spec: RunSpec, folder: Path, runtime: Path, progress: Progress
) -> dict[str, Any]:
    """Runs the experiment, writes its summary and returns it.

    Raises :class:`RunError` and the errors of a cluster. Nothing keeps running then.
    """
    (folder / SPEC).write_text(
        yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False)
    )
    origin = provenance()
    options = ClusterOptions(
        name=runtime.name,
        policy=spec.policy,
        balancer=spec.balancer,
        guard=spec.guard,
        workload=spec.workload.kind,
        weights=spec.cluster.weights,
        buckets=spec.cluster.buckets,
        pins=spec.cluster.pins,
        links=spec.links.options,
        datapath=spec.cluster.datapath,
        heal=spec.heal,
        heal_within_s=spec.heal_within_s,
        servers=spec.servers.settings,
    )
    cluster = Cluster(spec.plan(), options, folder, runtime)
    instruments = Instruments(folder, (cluster.workload.port,), spec.capture)
    try:
        cluster.start(progress)
        with _watchable(cluster, progress) as told:
            snapshots = _drive(spec, cluster, instruments, told)
            record = _collect(spec, cluster, instruments, snapshots)
    finally:
        instruments.kill()
        cluster.stop()
    write_record(folder, replace(record, provenance=origin))
    progress("analysing")
    return judge_folder(folder)


@contextmanager
def _watchable(cluster: Cluster, progress: Progress) -> Iterator[Progress]:
    """Answers watchers, who may look and change nothing. Yields a progress that tells them
    too what the run does."""
    view = LiveView(cluster, "the cluster serves")
    control.serve(cluster.runtime / "control.sock", {"ping": dict, "view": view.read})

    def tell(text: str) -> None:
        view.message = text
        progress(text)

    try:
        yield tell
    finally:
        view.freeze()
        view.message = "the run has ended; its record is written and judged"


def _drive(
    spec: RunSpec, cluster: Cluster, instruments: Instruments, progress: Progress
) -> Snapshots:
    """Runs clients, events and observation."""
    _start_instruments(cluster, instruments)
    progress(f"opening {spec.workload.connections} connections")
    _open_connections(spec, cluster, progress)
    progress(f"steady for {spec.steady_s:g} s")
    snapshots = Snapshots(steady_s=time.time())
    _sleep_until(snapshots.steady_s + spec.steady_s)
    snapshots.first_look_s = time.time()
    snapshots.held_before = _held_by_nodes(cluster)
    start = time.time()
    for instant in spec.instants():
        _sleep_until(start + instant[0].at)
        requests = spec.requests(instant)
        progress(
            ", ".join(described(event.kind, to, event.link) for event, to in requests)
        )
        cluster.execute(requests)
    progress(f"observing for {spec.observe_s:g} s")
    time.sleep(spec.observe_s)
    snapshots.last_look_s = time.time()
    snapshots.held_after = _held_by_nodes(cluster)
    snapshots.clients_after = _held_by_clients(cluster)
    snapshots.end_s = time.time()
    return snapshots


def _collect(
    spec: RunSpec, cluster: Cluster, instruments: Instruments, snapshots: Snapshots
) -> RunRecord:
    """Stops clients and instruments; returns everything that the analysis needs."""
    packets, pinned = counters(cluster), pin_cost(cluster)
    drops = cluster.dropped_frames()
    cluster.save_flow_tables()
    with cluster.lock:
        cluster.clients.stop(*cluster.clients.running, grace_s=CLIENT_GRACE_S)
    summaries = instruments.finish(cluster.namespaces())
    return RunRecord(
        initial=cluster.initial,
        final=cluster.state,
        events=tuple(cluster.records),
        snapshots=snapshots,
        packets=packets,
        reports=_reports(cluster),
        instruments=summaries,
        capture_file=instruments.capture_file if "capture" in summaries else None,
        sockets_file=instruments.sockets_file,
        cluster=cluster.describe(),
        datapath=cluster.datapath,
        pins=pinned,
        destroyed=cluster.destroyed(),
        faults=tuple(cluster.faults),
        switch_drops=drops,
    )


def _start_instruments(cluster: Cluster, instruments: Instruments) -> None:
    instruments.start(
        [
            point.to_json(cluster.pid(point.owner))
            for point in capture_points(cluster.state.plan)
        ]
    )

    def watch(points: Sequence[CapturePoint]) -> None:
        for point in points:
            instruments.watch(point, cluster.pid(point.owner))

    cluster.port_listeners.append(watch)


def _open_connections(spec: RunSpec, cluster: Cluster, progress: Progress) -> None:
    """Starts every client and waits until each has all its connections."""
    clients = cluster.state.plan.clients
    counts = split_evenly(spec.workload.connections, len(clients))
    waiting = []
    for client, share in zip(clients, counts, strict=True):
        if share:
            work = spec.workload
            job = cluster.client_job(
                client, share, spec.seed, spec.ip, work.interval_ms, work.pattern
            )
            cluster.start_client(job)
            waiting.append(client.name)
    opening = OpeningProgress(
        ready=lambda name: bool(_report(cluster, name).ports),
        opened=lambda: len(_held_by_clients(cluster)),
        sessions=lambda: sum(_report(cluster, name).opened for name in waiting),
        total=spec.workload.connections,
        ended=cluster.client_ended,
        trouble=lambda name: _report(cluster, name).last_error,
    )
    try:
        await_opened(waiting, opening, progress)
    except OpeningStalled as error:
        raise RunError(f"{error}\nsee {cluster.folder / 'hosts'}") from error


def _report(cluster: Cluster, host: str) -> ClientReport:
    path = cluster.report_path(host)
    return parse_report(path) if path.exists() else ClientReport((), None)


def _reports(cluster: Cluster) -> dict[str, ClientReport]:
    """Host -> report, for every client that was started."""
    return {
        client.name: _report(cluster, client.name)
        for client in cluster.state.plan.clients
        if cluster.report_path(client.name).exists()
    }


def _held_by_nodes(cluster: Cluster) -> dict[FourTuple, list[str]]:
    """Connection -> live nodes whose kernel holds a socket of it."""
    held: dict[FourTuple, list[str]] = {}
    with cluster.lock:
        for node in cluster.live_nodes():
            for sock in sockets_of(cluster.pid(node.name)):
                held.setdefault(sock.connection, []).append(node.name)
    return held


def _held_by_clients(cluster: Cluster) -> frozenset[FourTuple]:
    return frozenset(
        sock.connection
        for client in cluster.state.plan.clients
        for sock in sockets_of(cluster.pid(client.name))
    )


def _sleep_until(instant_s: float) -> None:
    """Sleeps until that CLOCK_REALTIME second; returns at once if it has passed."""
    time.sleep(max(0.0, instant_s - time.time()))
