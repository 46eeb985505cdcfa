"""The live page of a real cluster, in a real browser."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from experiments.workloads.echo import ECHO_PORT
from tests.experiments.watch.browser import chromium, opened
from tests.system.commands import Background, must, resetbed
from tests.system.held_connections import HeldConnections
from tests.system.test_watch_live import Watcher
from topologies.domain.plan import VIP4
from topologies.sandbox import find_run

pytestmark = pytest.mark.live

HELD = 40
#: A cluster takes some seconds to come up, or to change, in milliseconds.
LONGEST_MS = 30_000


@pytest.fixture
def cluster() -> Iterator[Background]:
    """2 chassis with 3 nodes each."""
    cluster = Background.up("on-a-page", "--workload", "echo", "--heal", "off")
    yield cluster
    cluster.down()


@pytest.fixture
def watcher(cluster: Background) -> Iterator[Watcher]:
    """What serves its page."""
    watcher = Watcher(cluster.name)
    yield watcher
    watcher.kill()


@pytest.fixture
def page(watcher: Watcher) -> Iterator[Page]:
    """Its page."""
    with (
        chromium() as browser,
        opened(browser, watcher.address(), may_fail=True) as page,
    ):
        yield page


def test_a_drain_by_its_button_and_the_death_of_cluster_and_server(
    cluster: Background, watcher: Watcher, page: Page
) -> None:
    held = HeldConnections.open(cluster, "h1", VIP4, ECHO_PORT, HELD)
    try:
        expect(_total(page, "established")).to_have_text(str(HELD))
        own = cluster.established()["c1n1"]
        node = page.locator('[data-kind="node"][data-name="c1n1"]')
        node.click()
        page.get_by_role("button", name="Drain c1n1").click()
        page.get_by_role("dialog").get_by_role("button", name="Drain c1n1").click()
        expect(page.get_by_role("dialog")).to_be_hidden(timeout=LONGEST_MS)
        expect(node).to_have_attribute("data-state", "out")
        name = f"c1n1: drained, {own} connections, {own} moved"
        expect(node).to_have_accessible_name(re.compile(name))
        # With "modulo" other nodes' connections move, too.
        expect(_total(page, "moved")).not_to_have_text("0")
        moved = int(_total(page, "moved").inner_text())

        assert int(held.order("echo")) == HELD - moved
        expect(_total(page, "resets")).to_have_text(str(moved))
        expect(_total(page, "moved")).to_have_text("0")
        expect(_total(page, "half_open")).to_have_text("0")
        still = page.locator(".flow:not([data-strength='0'])")
        expect(still, "rates end").to_have_count(0, timeout=LONGEST_MS)
        expect(node).to_have_accessible_name(re.compile("drained, no connections"))
        expect(page.get_by_role("button", name="Restore c1n1")).to_be_visible()
        drawing = page.get_by_role("img", name=re.compile("^Ladder diagram"))
        expect(drawing).to_have_js_property("complete", True)
        assert drawing.evaluate("image => image.naturalWidth") > 0
    finally:
        held.kill()

    os.kill(find_run(cluster.name).init.pid, signal.SIGKILL)
    remedy = f"./resetbed up --name {cluster.name}"
    expect(page.get_by_role("alert")).to_contain_text(remedy)
    expect(node).to_be_visible()
    must(resetbed("up", "--name", cluster.name, "--workload", "echo", "--chassis", "1"))
    expect(page.get_by_role("alert")).to_be_hidden(timeout=LONGEST_MS)
    expect(page.locator('[data-kind="chassis"]')).to_have_count(1)
    expect(node).to_have_attribute("data-state", "in-service")

    address = watcher.address()
    watcher.kill()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    again = Watcher(cluster.name)
    try:
        assert again.address() == address
        expect(page.get_by_role("alert")).to_be_hidden(timeout=LONGEST_MS)
        expect(page.locator("#phase")).to_have_text("live")
    finally:
        again.kill()


def _total(page: Page, key: str) -> Locator:
    return page.locator(f'[data-total="{key}"] .value')
