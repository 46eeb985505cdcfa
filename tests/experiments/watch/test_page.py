"""The live page in a real browser, against a server that says what the test says.

Pages are looked at as their users do: by role and name, by keyboard, at three sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.experiments.watch.browser import (
    PHONE,
    TABLET,
    WIDE,
    chromium,
    opened,
)
from tests.experiments.watch.made_up_views import (
    absent_view,
    drained,
    later,
    made_up_view,
)
from tests.experiments.watch.scripted_server import ScriptedServer


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all: a module ends it, since its event loop is the thread's."""
    with chromium() as found:
        yield found


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server of a cluster of 2 chassis with 3 nodes each."""
    made = ScriptedServer([made_up_view()])
    yield made
    made.close()


@pytest.fixture
def page(browser: Browser, server: ScriptedServer) -> Iterator[Page]:
    """The page at its widest."""
    with opened(browser, server.address) as found:
        yield found


def node(page: Page, name: str) -> Locator:
    """A node's cell in the picture."""
    return page.get_by_role("group", name=f"Chassis {name[:2]}").get_by_role(
        "button", name=re.compile(f"^{name}:")
    )


def total(page: Page, key: str) -> Locator:
    """The value of one of the totals."""
    return page.locator(f'[data-total="{key}"] .value')


def test_a_node_is_drained_by_its_button(server: ScriptedServer, page: Page) -> None:
    node(page, "c1n1").click()
    page.get_by_role("button", name="Drain c1n1").click()
    asking = page.get_by_role("dialog", name="Drain c1n1?")
    expect(asking).to_contain_text("no new connections")
    assert server.asked == [], "nothing is asked for before it is confirmed"
    asking.get_by_role("button", name="Drain c1n1").click()
    expect(asking).to_be_hidden()
    assert server.asked == [{"kind": "drain-node", "target": "c1n1"}]

    midst, end = drained(server.history[-1], "c1n1")
    server.say(midst)
    told = "c1n1: drained, 12 connections, 12 moved, 12 half-open, 48/s copies"
    expect(node(page, "c1n1")).to_have_accessible_name(told)
    expect(total(page, "half_open")).to_have_text("12")
    expect(total(page, "resets")).to_have_text("12")
    expect(page.locator(".flow.tier-1[data-strength='3']")).to_have_count(2)
    server.say(end)
    healed = "c1n1: drained, no connections"
    expect(node(page, "c1n1")).to_have_accessible_name(healed)
    expect(total(page, "half_open")).to_have_text("0")
    expect(page.locator(".flow:not([data-strength='0'])")).to_have_count(0)
    expect(page.get_by_role("button", name="Restore c1n1")).to_be_visible()
    expect(page.locator("#said")).to_have_text(
        "c1n1 drained. 12 connections moved, 12 reset, none half-open."
    )
    expect(page.get_by_role("img", name="Ladder diagram")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "error"), [(409, "c1n1 is the last one"), (503, "no cluster runs")]
)
def test_a_refusal_is_shown_where_it_was_asked(
    browser: Browser, server: ScriptedServer, status: int, error: str
) -> None:
    server.refusal = (status, error)
    with opened(browser, server.address, may_fail=True) as page:
        node(page, "c1n1").click()
        page.get_by_role("button", name="Fail c1n1").click()
        asking = page.get_by_role("dialog")
        expect(asking).to_contain_text("This is a failure, not a planned change.")
        asking.get_by_role("button", name="Fail c1n1").click()
        expect(asking.get_by_role("alert")).to_have_text(error)


def test_what_is_not_known_is_not_zero(server: ScriptedServer, page: Page) -> None:
    view = server.history[-1]
    blind = {"established": None, "moved": None, "half_open": None}
    dark = [{**n, **blind} if n["name"] == "c1n1" else n for n in view["nodes"]]
    totals = {**view["totals"], **blind, "tier1_copies_per_s": None}
    server.say(later(view, nodes=dark, totals=totals))
    expect(total(page, "established")).to_have_text("–")
    name = "c1n1: in service, – connections, – moved, – half-open"
    expect(node(page, "c1n1")).to_have_accessible_name(name)
    expect(page.locator('[data-total="tier1_copies"] .rate')).to_have_text("– now")


def test_the_slider_leads_back_and_live_returns(browser: Browser) -> None:
    first = made_up_view()
    midst, end = drained(later(first, 60.0), "c2n3")
    server = ScriptedServer([first, midst, end, later(end, 60.0)])
    with opened(browser, server.address) as page:
        expect(total(page, "resets")).to_have_text("12")
        node(page, "c2n3").click()
        page.get_by_role("slider", name="Look back").press("Home")
        expect(total(page, "resets")).to_have_text("0")
        expect(node(page, "c2n3")).to_have_accessible_name(re.compile("in service"))
        expect(page.locator("#timeline-time")).to_have_text(re.compile("2 min 1 s ago"))
        expect(page.get_by_role("log")).not_to_contain_text("drain-node")
        expect(page.locator("#chosen")).to_contain_text("This is the past.")
        expect(page.get_by_role("button", name="Restore c2n3")).to_be_hidden()
        page.get_by_role("button", name="Next event").click()
        expect(total(page, "resets")).to_have_text("12")
        server.say(later(server.history[-1], established=0))
        page.get_by_role("button", name="Live").click()
        expect(page.get_by_role("button", name="Restore c2n3")).to_be_visible()
        expect(page.locator("#phase")).to_have_text("live")
    server.close()


def test_a_cluster_that_goes_and_returns(server: ScriptedServer, page: Page) -> None:
    view = server.history[-1]
    expect(page.locator("#phase")).to_have_text("live")
    server.say(absent_view(view))
    expect(page.get_by_role("alert")).to_contain_text("./resetbed up --name testbed")
    expect(page.locator("body")).to_have_class(re.compile("stale"))
    expect(node(page, "c1n1")).to_be_visible()
    server.say(later(view, 5.0))
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("body")).not_to_have_class(re.compile("stale"))


def test_a_server_that_goes_and_returns(browser: Browser) -> None:
    server = ScriptedServer([made_up_view()])
    with opened(browser, server.address, may_fail=True) as page:
        expect(page.locator("#phase")).to_have_text("live")
        server.close()
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        expect(node(page, "c1n1")).to_be_visible()
        grown = made_up_view(nodes=4)
        server = ScriptedServer([later(grown, 30.0)], server.port)
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(node(page, "c1n4")).to_be_visible()
        server.knows_page = False
        server.drop()
        expect(page.get_by_role("alert")).to_contain_text("Another server answers")
        server.knows_page = True
        expect(page.get_by_role("alert")).to_be_hidden()
    server.close()


def test_all_of_it_by_keyboard(server: ScriptedServer, page: Page) -> None:
    fabric = page.get_by_role("button", name=re.compile("^Fabric"))
    fabric.focus()
    for key, name in (
        ("ArrowDown", "Chassis c1"),
        ("ArrowDown", "c1n2:"),
        ("ArrowLeft", "c1n1:"),
        ("End", "c2n3:"),
        ("ArrowLeft", "c2n2:"),
    ):
        page.keyboard.press(key)
        focused = page.locator(":focus")
        expect(focused).to_have_accessible_name(re.compile(f"^{name}"))
        outline = "element => getComputedStyle(element).outlineStyle"
        assert focused.evaluate(outline) == "solid", "the focus is seen"
    expect(page.locator("#map [tabindex='0']")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Drain c2n2")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Drain c2n2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(node(page, "c2n2")).to_be_focused()


def test_every_event_is_in_one_list(server: ScriptedServer, page: Page) -> None:
    page.get_by_role("button", name="Every event…").click()
    every = page.get_by_role("dialog", name="Every possible event")
    every.get_by_label("Event").select_option("reseed")
    every.get_by_label("Target").select_option("all")
    every.get_by_role("button", name="Review…").click()
    page.get_by_role("dialog", name="Reseed all?").get_by_text("Cancel").click()
    assert server.asked == []


def test_a_screen_reader_finds_its_way(server: ScriptedServer, page: Page) -> None:
    expect(node(page, "c1n1")).to_be_visible()
    page.get_by_text("Nodes as a table").click()
    expect(page.get_by_role("rowheader", name="c2n3")).to_be_visible()
    tree = page.locator("body").aria_snapshot()
    for part in (
        "- banner:",
        "- main:",
        "- contentinfo:",
        '- heading "testbed" [level=1]',
        '- heading "2 chassis, 6 nodes" [level=2]',
        '- heading "Latest reset" [level=2]',
        '- region "Time"',
        '- slider "Look back"',
        '- log "Log"',
        '- table "Nodes"',
        '- columnheader "Half-open"',
        '- rowheader "c2n3"',
        '- combobox "Theme"',
        '- group "Chassis c1"',
        "- 'button \"c1n1: in service, 12 connections\"'",
        '- status: "Watching testbed: 2 chassis, 6 nodes."',
    ):
        assert part in tree, tree
    nameless = r"^\s*- (button|link|slider|combobox|textbox|img|region|table)(:|$| \[)"
    assert re.findall(nameless, tree, re.MULTILINE) == []


def test_a_course_shows_peaks_and_then_what_stayed(page: Page) -> None:
    """Half-open for 0.2 s of a second, then none; nothing is sent while nothing changes."""
    course = page.evaluate(
        """async () => {
          const { Recording } = await import("/page/recording.js");
          const recording = new Recording();
          const view = (t, halfOpen) => ({ t, nodes: [], totals: { half_open: halfOpen } });
          for (const [t, halfOpen] of [[2.5, 3], [5.1, 0], [5.2, 8], [5.4, 0]])
            recording.add(view(t, halfOpen));
          return recording.course("half_open", 10, 10, 10);
        }"""
    )
    assert course == [None, None, 3, 3, 3, 8, 0, 0, 0, 0]


def test_the_theme_is_chosen_and_kept(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Theme").select_option("dark")
    dark = page.evaluate(ground)
    assert light == "rgb(255, 255, 255)" and dark != light
    page.reload()
    expect(page.get_by_label("Theme")).to_have_value("dark")
    assert page.evaluate(ground) == dark


@pytest.mark.parametrize(("chassis", "nodes"), [(2, 3), (10, 15), (40, 25)])
def test_nothing_overflows(browser: Browser, chassis: int, nodes: int) -> None:
    view = made_up_view(chassis, nodes)
    midst, _ = drained(view, "c1n3")
    midst["chassis"][1].update(uplink=False, in_service=False)
    server = ScriptedServer([view, midst])
    with opened(browser, server.address) as page:
        expect(page.locator(".chassis")).to_have_count(chassis)
        for size in (WIDE, TABLET, PHONE):
            page.set_viewport_size(size)
            page.evaluate(_TWO_FRAMES)
            wide = "document.documentElement.scrollWidth"
            assert page.evaluate(wide) <= size["width"]
            assert page.evaluate(_CLIPPED) == []
    server.close()


#: After a change of the window the next frame lays the picture out, one more shows it.
_TWO_FRAMES = """
new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))
"""
#: Names and figures in the picture and in the totals that do not fit their place.
_CLIPPED = """
[...document.querySelectorAll(".node .held, .node .name, .chassis, .total, .client")]
  .filter((element) => element.offsetParent)
  .filter((element) => {
    const place = element.closest(".node, .card, .total, .clients");
    const inside = element.getBoundingClientRect();
    const around = place.getBoundingClientRect();
    return inside.right > around.right + 0.5 || inside.bottom > around.bottom + 0.5
      || element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0;
  })
  .map((element) => element.textContent)
"""
