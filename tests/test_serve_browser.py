"""The page in a browser: from a file to a report whose findings light up, and along with it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import serving
from serving import Server, dicom, png
from test_audit_browser import COLOURS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

ATTACK = "No pneumothorax.<img src=x onerror='hacked=1'><script>hacked = 1</script>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving.stub(tmp_path_factory.mktemp("page"), delay=0.3) as server:
        yield server


@contextmanager
def opened(browser: Browser, server: Server, **options: Any) -> Generator[Page]:
    """The page; what it asks of other hosts or says on the console fails the test."""
    complaints: list[str] = []
    page = browser.new_page(**options)
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("request", lambda request: complaints.append(f"request: {request.url}"))
    page.goto(server.url)
    yield page
    page.close()
    ours = (f"request: {server.url}/", "request: data:", "request: blob:")
    # What the server refuses is told to the reader too; the browser says so on the console.
    refused = "console: Failed to load resource"
    read_twice = "console: Canvas2D: Multiple readback"  # the test reads the canvas, not the page
    assert [c for c in complaints if not c.startswith((*ours, refused, read_twice))] == []


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with opened(browser, server, viewport={"width": 1280, "height": 900}) as page:
        yield page


def drop(page: Page, *files: bytes) -> None:
    """Chooses files; none has a name that tells its type."""
    page.locator("#files").set_input_files(
        [{"name": f"file{n}", "mimeType": "", "buffer": file} for n, file in enumerate(files)]
    )


def write(page: Page) -> None:
    page.get_by_role("button", name="Write the report").click()
    page.locator("#read").wait_for()


@pytest.mark.parametrize("make", [png, dicom])
def test_a_file_becomes_a_report_whose_findings_light_up(page: Page, make: Any) -> None:
    drop(page, make(77))
    page.get_by_label("Chest X-ray, one view, 64 by 64 pixels").wait_for()
    write(page)
    assert page.locator("#think").inner_text().endswith("grey 77, seed 0, 1 images,")
    assert page.locator("mark.lit").count() == 0
    chip = page.get_by_role("button", name="Pneumothorax, negative")
    chip.click()
    assert page.locator("mark.lit").all_inner_texts() == ["No pneumothorax."]
    assert page.locator("mark.lit b").inner_text() == "pneumothorax"
    page.get_by_role("button", name="Edema, uncertain").click()
    assert page.locator("mark.lit").all_inner_texts() == ["Possible edema in a chest of \u00b5."]
    page.get_by_role("button", name="Edema, uncertain").click()
    assert page.locator("mark.lit").count() == 0


def test_the_report_is_seen_while_it_is_written(browser: Browser, tmp_path: Path) -> None:
    with serving.stub(tmp_path, delay=4) as slow, opened(browser, slow) as page:
        drop(page, png())
        page.get_by_role("button", name="Write the report").click()
        page.locator("#think p:has-text('grey')").wait_for()
        assert page.locator("#read").is_hidden()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("Stopped.").wait_for()


def test_drafts_show_how_sure(page: Page) -> None:
    drop(page, png(), png(3))
    page.get_by_role("button", name="View 2").click()
    page.get_by_label("view 2 of 2").wait_for()
    page.get_by_label("Drafts").select_option("4")
    write(page)
    assert "2 images" in page.locator("#think").inner_text()
    assert page.locator("#claims .share").all_inner_texts() == ["100 %"] * 3


def test_exports_are_downloaded(page: Page, tmp_path: Path) -> None:
    fhir = pytest.importorskip("fhir.resources.R4B.diagnosticreport")
    drop(page, dicom())
    write(page)
    for name, file in (
        ("FHIR", "report.fhir.json"),
        ("Text", "report.txt"),
        ("JSON", "report.json"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        assert download.value.suggested_filename == file
        download.value.save_as(tmp_path / file)
        assert "not for clinical use" in (tmp_path / file).read_text()
    text = (tmp_path / "report.fhir.json").read_text()
    assert fhir.DiagnosticReport.model_validate(json.loads(text)).status == "preliminary"


def test_a_reference_is_compared_in_the_audits_colours(page: Page) -> None:
    drop(page, png())
    write(page)
    page.get_by_label("Compare with a reference").fill("Pneumothorax. Fracture. " + ATTACK)
    page.get_by_role("button", name="Compare").click()
    page.locator("#kinds .chip.polarity:has-text('Pneumothorax')").wait_for()
    assert page.locator("#kinds .chip.omission").inner_text().endswith("not in the report")
    assert page.evaluate("typeof hacked") == "undefined"
    assert "<script>" in page.locator("#reference-text").inner_text()


def test_what_is_no_image_is_told(page: Page) -> None:
    drop(page, b"no image")
    page.get_by_role("alert").wait_for()
    assert "neither PNG, JPEG nor DICOM" in page.get_by_role("alert").inner_text()
    assert page.get_by_role("button", name="Write the report").is_disabled()
    drop(page, png())
    page.get_by_label("one view").wait_for()
    assert page.get_by_role("alert").is_hidden()


def centre(page: Page) -> list[int]:
    """Red, green and blue in the middle of the image."""
    data = page.locator("#canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data]"
    )
    return data[:3]


def test_windowing_and_zoom(page: Page) -> None:
    drop(page, dicom(100, WindowCenter=110.5, WindowWidth=101))
    page.get_by_label("one view").wait_for()
    assert centre(page) == [102, 102, 102]
    page.locator("#canvas").press("i")
    assert centre(page) == [153, 153, 153]
    page.locator("#canvas").press("0")
    page.get_by_label("Level").press("Home")
    assert centre(page) == [230, 230, 230]
    page.get_by_role("button", name="Reset").click()
    assert centre(page) == [102, 102, 102]
    page.get_by_role("button", name="Zoom in").click()
    page.locator("#canvas").press("ArrowLeft")
    page.locator("#canvas").hover()
    page.mouse.wheel(0, -200)
    page.mouse.down()
    page.mouse.move(400, 400)
    page.mouse.up()
    assert centre(page) in ([102] * 3, [0] * 3)


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    drop(page, png())
    write(page)
    page.locator("body").click(position={"x": 2, "y": 2})
    seen: set[str] = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
    assert {"files", "canvas", "write", "reference", "FHIR", "Invert"} <= seen
    assert any("Pneumothorax" in name for name in seen)
    chip = page.get_by_role("button", name="Pneumothorax, negative")
    chip.focus()
    page.keyboard.press("Enter")
    assert page.locator("mark.lit").count() == 1


def test_a_token_is_asked_for_and_kept_for_the_visit(browser: Browser, tmp_path: Path) -> None:
    with serving.stub(tmp_path, token="rose") as guarded, opened(browser, guarded) as page:
        drop(page, png())
        page.get_by_label("Token of this server").fill("rose")
        page.get_by_role("button", name="Use it").click()
        page.get_by_label("one view").wait_for()
        write(page)
        assert page.evaluate("localStorage.length") == 0


def test_a_policy_that_knows_indications_is_given_one(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    with opened(browser, server) as page:
        page.get_by_text("Policy stub").wait_for()
        assert page.locator("#ask textarea:visible").count() == 0
    with (
        serving.stub(tmp_path, context=["indication"]) as knowing,
        opened(browser, knowing) as page,
    ):
        drop(page, png())
        page.get_by_label("Indication").fill("___F with cough")
        assert page.get_by_label("Previous report").is_hidden()
        write(page)
        assert page.locator("#think").inner_text().endswith("[indication: ___F with cough]")


def test_the_page_of_the_api(browser: Browser, server: Server) -> None:
    with opened(browser, server) as page:
        page.get_by_role("link", name="API").click()
        page.get_by_role("heading", name="POST /report", exact=True).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_and_has_contrast(
    browser: Browser, server: Server, width: int, scheme: Any
) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, server, viewport=size, color_scheme=scheme) as page:
        drop(page, png())
        write(page)
        page.get_by_label("Compare with a reference").fill("Pneumothorax. Fracture. Edema.")
        page.get_by_role("button", name="Compare").click()
        page.locator("#kinds .chip").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(COLOURS) == []
