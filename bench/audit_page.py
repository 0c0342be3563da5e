"""Times the audit page of a folder in headless Chromium: how long a reader waits for each act.

    python bench/audit_page.py runs/quickstart --studies 1000

Each act is timed from the click to the second frame after it, when its result is on the screen;
the worst of five is printed. Scrolling is by a screenful per frame, over the whole page.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from mrg_r1.audit import write_audit

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

TIMED = """
async ([name, value]) => {
  const form = document.querySelector(".toolbar");
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  const start = performance.now();
  form.elements[name].value = value;
  form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
  await frame();
  await frame();
  return performance.now() - start;
}
"""

SCROLL = """
async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const times = [];
  let last = await frame();
  while (scrollY + innerHeight < document.documentElement.scrollHeight - 2 && times.length < 2000) {
    scrollBy(0, innerHeight);
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(share * (times.length - 1))];
  return [times.length, at(0.5), at(0.99), at(1)];
}
"""

ACTS = {
    "filter by error": (("kind", "error"), ("kind", "omission"), ("kind", "")),
    "filter by finding": (("finding", "9"), ("finding", "5"), ("finding", "")),
    "sort by errors": (("sort", "errors-1"), ("sort", "id"), ("sort", "errors-0")),
    "search": (("text", "effusion"), ("text", "no such words"), ("text", "")),
}


def main() -> None:
    """Prints the size of the page and the times in ms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--images", default="auto", choices=("auto", "none"))
    parser.add_argument("--width", type=int, default=1280)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        page = Path(folder) / "audit.html"
        write_audit(options.folder, page, studies=options.studies, images=options.images)
        size = page.stat().st_size / 1e6
        print(f"drawn in {time.perf_counter() - start:.1f} s, {size:.1f} MB")
        measure(page, options.width)


def measure(path: Path, width: int) -> None:
    """Opens the page and goes through the acts."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        start = time.perf_counter()
        page.goto(path.as_uri())
        opened = time.perf_counter() - start
        shown = page.locator(".study").count()
        nodes = page.evaluate("document.querySelectorAll('*').length")
        print(f"opened in {opened:.2f} s: {shown:,} studies, {nodes:,} elements")
        for name, acts in ACTS.items():
            print(f"{name:<18} {worst(page, acts):6.0f} ms")
        frames, median, high, most = page.evaluate(SCROLL)
        print(f"scroll: {frames} frames, median {median:.0f}, 99 % {high:.0f}, worst {most:.0f} ms")
        browser.close()


def worst(page: Page, acts: tuple[tuple[str, str], ...]) -> float:
    """The longest of the acts, gone through five times."""
    return max(page.evaluate(TIMED, list(act)) for _ in range(5) for act in acts)


if __name__ == "__main__":
    main()
