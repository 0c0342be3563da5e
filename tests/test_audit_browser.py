"""The audit page in a browser: it sorts, filters, stays inert, and fits paper and phone."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import audit_run
from mrg_r1.audit import write_audit
from mrg_r1.records import Prediction, read_jsonl, write_jsonl

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

ATTACK = "no pneumothorax<img src=x onerror='hacked=1'><script>hacked = 1</script>"


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 24 studies, one of which attacks it."""
    run = audit_run.write_run(tmp_path_factory.mktemp("browser"))
    first, *rest = read_jsonl(run / "predictions.jsonl", Prediction)
    hostile = Prediction(first.id, first.id, ATTACK, ATTACK, ATTACK, first.reference, first.images)
    write_jsonl(run / "predictions.jsonl", [hostile, *rest])
    return write_audit(run)


@contextmanager
def opened(browser: Browser, audit: Path, **options: Any) -> Generator[Page]:
    """The page; whatever it asks of the network or says on the console fails the test."""
    complaints: list[str] = []
    page = browser.new_page(**options)
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("request", lambda request: complaints.append(f"request: {request.url}"))
    page.goto(audit.as_uri())
    yield page
    page.close()
    asked = f"request: {audit.as_uri()}"
    assert [c for c in complaints if c != asked and not c.startswith("request: data:")] == []


@pytest.fixture
def page(browser: Browser, audit: Path) -> Iterator[Page]:
    with opened(browser, audit, viewport={"width": 1280, "height": 900}) as page:
        yield page


def ids(page: Page) -> list[str]:
    """The ids of the samples in sight, from top to bottom."""
    shown = page.locator(".study:visible")
    return [shown.nth(i).get_attribute("data-id") or "" for i in range(shown.count())]


def numbers(page: Page, attribute: str, name: str = "") -> list[float]:
    shown = page.locator(f".study:visible{name}")
    return [float(shown.nth(i).get_attribute(attribute) or "nan") for i in range(shown.count())]


def test_attack_is_only_text(page: Page) -> None:
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.get_by_text(ATTACK, exact=True).count() >= 1


def test_policy_refuses_what_is_not_ours(browser: Browser, audit: Path) -> None:
    page = browser.new_page()
    page.goto(audit.as_uri())
    refused = page.evaluate(
        """() => new Promise(done => {
          const refused = [];
          document.addEventListener("securitypolicyviolation", event => {
            refused.push(event.effectiveDirective);
            if (refused.length === 3) done(refused.sort());
          });
          const script = document.createElement("script");
          script.textContent = "hacked = 1";
          document.body.append(script);
          new Image().src = "https://example.org/a.png";
          fetch("https://example.org/").catch(() => {});
        })"""
    )
    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("typeof hacked") == "undefined"
    page.close()


def test_images_are_drawn(page: Page) -> None:
    widths = page.locator(".pictures img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert len(widths) == 24
    assert set(widths) == {224}


def test_sorting(page: Page) -> None:
    assert numbers(page, "data-change") == sorted(numbers(page, "data-change"), reverse=True)
    page.get_by_label("Sort by").select_option("reward, After")
    after = numbers(page, "data-reward", " .report.srl")
    assert after == sorted(after, reverse=True)
    page.get_by_label("Order").select_option("up")
    assert numbers(page, "data-reward", " .report.srl") == sorted(after)
    page.get_by_label("Sort by").select_option("reward, Before")
    before = numbers(page, "data-reward", " .report.start")
    assert before == sorted(before)
    page.get_by_label("Sort by").select_option("errors, After")
    wrong = ".chip.polarity, .chip.omission, .chip.invention"
    reports = page.locator(".study:visible .report.srl")
    errors = [reports.nth(i).locator(wrong).count() for i in range(24)]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]
    page.get_by_label("Sort by").select_option("id")
    assert ids(page) == [f"drawn-{n:03d}" for n in range(1, 25)]
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("document.forms[0].sort.value === 'change'")
    assert numbers(page, "data-change") == sorted(numbers(page, "data-change"), reverse=True)


def test_filters_agree_with_the_chips_in_sight(page: Page) -> None:
    form = page.locator(".toolbar")
    form.get_by_label("Finding").select_option("Pneumothorax")
    form.get_by_label("Error type").select_option("polarity error")
    form.get_by_label("Where").select_option("in Before")
    chip = ".report.start .chip.polarity:has-text('Pneumothorax')"
    expected = page.locator(f".study:has({chip})").count()
    assert 0 < expected < 24
    assert len(ids(page)) == expected
    assert form.locator("output").inner_text() == f"{expected} of 24 shown"
    form.get_by_label("Where").select_option("mended")
    after = ".report.srl .chip.polarity:has-text('Pneumothorax')"
    both = page.locator(f".study:has({chip}):has({after})").count()
    assert len(ids(page)) == expected - both
    form.get_by_label("Error type").select_option("any error")
    form.get_by_label("Where").select_option("in After")
    kinds = ", ".join(
        f".report.srl .chip.{kind}:has-text('Pneumothorax')"
        for kind in ("polarity", "omission", "invention")
    )
    assert len(ids(page)) == page.locator(f".study:has({kinds})").count()
    form.get_by_label("Error type").select_option("uncertain mismatch")
    form.get_by_label("Where").select_option("in any column")
    form.get_by_label("Finding").select_option("all 13")
    assert len(ids(page)) == page.locator(".study:has(.chip.mismatch)").count() > 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_filter_is_clicked_and_a_coloured_statement_read(
    browser: Browser, audit: Path, scheme: Any, width: int
) -> None:
    size = {"width": width, "height": 900}
    with opened(browser, audit, viewport=size, color_scheme=scheme) as page:
        form = page.locator(".toolbar")
        form.get_by_label("Where").select_option("in Before")
        form.get_by_label("Error type").select_option("polarity error")
        study = page.locator(".study:visible").first
        mark = study.locator(".report.start mark.polarity").first
        mark.scroll_into_view_if_needed()
        assert (mark.text_content() or "").strip()
        assert "double" in style(mark, "textDecoration")
        assert style(mark, "backgroundColor") != "rgba(0, 0, 0, 0)"
        assert style(mark, "content", "::before") == '"\u00d7"'
        assert style(mark, "content", "::after") == "none"
        mark.click()
        told = style(mark, "content", "::after")
        assert told.startswith('"Polarity error. ')
        assert "; the reference " in told
        left, right = bounds(mark, "::after")
        assert 0 <= left < right <= width


def style(mark: Locator, name: str, pseudo: str = "") -> str:
    script = "(node, [name, pseudo]) => getComputedStyle(node, pseudo || null)[name]"
    return mark.evaluate(script, [name, pseudo])


def bounds(mark: Locator, pseudo: str) -> tuple[float, float]:
    """The left and right edge of what a mark tells: that of the column it stands in."""
    box = mark.locator("xpath=ancestor::section[1]").bounding_box()
    assert box is not None
    assert style(mark, "position", pseudo) == "absolute"
    return box["x"], box["x"] + float(style(mark, "width", pseudo).removesuffix("px"))


def test_kinds_of_statement_differ_without_colour(page: Page) -> None:
    lines: dict[str, str] = {}
    for kind in ("agree-positive", "polarity", "invention", "mismatch", "missing"):
        mark = page.locator(f".study mark.{kind}").first
        sign = style(mark, "content", "::before")
        lines[kind] = style(mark, "textDecorationStyle") + sign
    assert len(set(lines.values())) == len(lines)


def test_statements_are_stepped_through_by_arrow_keys_and_light_their_cues(page: Page) -> None:
    text = page.locator(".report.reference .text:has(mark[data-cues])").first
    marks = text.locator("mark")
    assert marks.first.get_attribute("tabindex") == "0"
    marks.first.focus()
    for index in range(1, marks.count()):
        page.keyboard.press("ArrowRight")
        assert marks.nth(index).evaluate("node => node === document.activeElement")
        cues = (marks.nth(index).get_attribute("data-cues") or "").split()
        lit = text.locator(".cue").evaluate_all(
            "all => all.flatMap((c, i) => c.classList.contains('lit') ? [String(i)] : [])"
        )
        assert lit == cues
    page.keyboard.press("ArrowRight")
    assert marks.last.evaluate("node => node === document.activeElement")
    page.keyboard.press("ArrowLeft")
    assert text.locator("mark[tabindex='0']").count() == 1


def test_number_of_a_confusion_table_shows_its_studies(page: Page) -> None:
    row = page.locator("#confusion details:has-text('Pneumothorax')")
    row.locator("summary").click()
    table = row.locator("table:has(caption:has-text('Before'))")
    cell = table.locator("td.polarity button").first
    number, kind = int(cell.inner_text()), cell.get_attribute("data-kind")
    assert number > 0
    cell.click()
    page.wait_for_function("document.activeElement.name === 'finding'")
    assert len(ids(page)) == number
    form = page.locator(".toolbar")
    assert form.get_by_label("Error type").input_value() == kind
    assert form.get_by_label("Where").input_value() == "0"


def test_search_finds_words_and_says_when_there_are_none(page: Page) -> None:
    search = page.get_by_label("Search")
    search.fill("DRAWN-007")
    assert ids(page) == ["drawn-007"]
    search.fill("catheter")
    assert 0 < len(ids(page)) < 24
    search.fill("no such words")
    assert ids(page) == []
    assert page.get_by_text("No sample matches these filters.").is_visible()
    search.press("Enter")
    assert page.url.endswith("audit.html")


def test_ce_table_shows_the_variant_that_is_chosen(page: Page) -> None:
    shown = page.locator(".ce-table tbody:visible")
    assert shown.count() == 1
    assert shown.locator(".variant").inner_text() == "Micro, 13 findings, uncertain as positive"
    page.get_by_label("Macro").check(force=True)
    page.get_by_label("14 observations").check(force=True)
    page.get_by_label("as negative").check(force=True)
    assert shown.count() == 1
    assert shown.locator(".variant").inner_text() == "Macro, 14 observations, uncertain as negative"


def test_signature_shows_by_keyboard_and_by_pointer(page: Page) -> None:
    number = page.locator(".ce-table tbody:visible .scored").first
    tip = number.locator(".signature")
    assert not tip.is_visible()
    number.focus()
    assert tip.is_visible()
    assert "labeler:drawn@0|uncertain:positive|labels:13|avg:micro" in tip.inner_text()
    box = tip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1280
    number.blur()
    number.hover()
    assert tip.is_visible()


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    seen: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.name || document.activeElement.tagName"))
    assert {"average", "labels", "uncertain", "sort", "kind", "text", "SPAN", "SUMMARY"} <= seen
    page.locator(".study summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".study details[open]").count() == 1


def test_page_works_without_script(browser: Browser, audit: Path) -> None:
    with opened(browser, audit, java_script_enabled=False) as page:
        assert page.locator(".toolbar").is_hidden()
        assert len(ids(page)) == 24
        assert page.locator(".ce-table tbody:visible").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_never_scrolls_sideways(
    browser: Browser, audit: Path, width: int, scheme: Any
) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, audit, viewport=size, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width


COLOURS = """
() => {
  // What is far from sight is not laid out, and would not be looked at.
  const far = document.querySelectorAll('.study');
  for (const study of far) study.style.contentVisibility = 'visible';
  for (const hidden of document.querySelectorAll('details')) hidden.open = true;
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const words = 'p, li, dd, dt, th, td, h1, h2, h3, h4, a, i, b, small, label, summary, span, mark,'
    + 'caption, button';
  const shown = node => node.offsetParent && node.innerText;
  return [...document.querySelectorAll(words)].filter(shown).map(node => {
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    return [contrast, `${node.className} ${node.innerText}`];
  }).filter(([contrast]) => contrast < 4.5);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: Browser, audit: Path, scheme: Any) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    with opened(browser, audit, color_scheme=scheme) as page:
        assert page.evaluate(COLOURS) == []


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three systems and two baselines."""
    return write_audit(audit_run.write_comparison(tmp_path_factory.mktemp("systems") / "compared"))


def test_systems_stand_in_columns_that_can_be_put_away(browser: Browser, comparison: Path) -> None:
    with opened(browser, comparison, viewport={"width": 1600, "height": 900}) as page:
        titles = page.locator(".study").first.locator("h4:visible")
        names = [text.split(" reward")[0] for text in titles.all_text_contents()]
        assert names == ["Reference", "ours", "theirs", "<b>third</b>"]
        tops = [titles.nth(i).bounding_box() or {} for i in range(titles.count())]
        assert len({box["y"] for box in tops}) == 1
        page.get_by_role("checkbox", name="constant-normal").check()
        assert titles.count() == 5
        page.get_by_role("checkbox", name="ours").uncheck()
        assert titles.count() == 4
        page.get_by_role("button", name="Reset").click()
        page.wait_for_function("!document.forms[0].column[3].checked")
        assert titles.count() == 4
        page.get_by_label("Where").select_option("in theirs")
        page.get_by_label("Error type").select_option("omission")
        expected = page.locator(".study:has([data-column='1'] .chip.omission)").count()
        assert 0 < len(ids(page)) == expected


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1900])
def test_comparison_never_scrolls_sideways(browser: Browser, comparison: Path, width: int) -> None:
    with opened(browser, comparison, viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_comparison_has_contrast(browser: Browser, comparison: Path, scheme: Any) -> None:
    with opened(browser, comparison, color_scheme=scheme) as page:
        assert page.evaluate(COLOURS) == []


def test_paper_gets_no_controls(page: Page) -> None:
    page.emulate_media(media="print")
    assert page.locator(".toolbar").is_hidden()
    assert page.locator("nav").is_hidden()
    assert len(ids(page)) == 24
