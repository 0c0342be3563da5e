"""Times the audit page of a folder in headless Chromium: how long a reader waits for each act.

    python bench/audit_page.py runs/quickstart --studies 1000

Each act is timed from the click to the second frame after it, when its result is on the screen;
the median and the worst of five rounds are printed, and the CPU time of the page's main thread,
which does not count what else the machine does. Scrolling is by a screenful per frame, over the
whole page, faster than anyone reads.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
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
        clock = Clock(page)
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.evaluate("new Promise(requestAnimationFrame)")
        opened, cpu = time.perf_counter() - start, clock.lap()
        shown = page.locator(".study").count()
        nodes = page.evaluate("document.querySelectorAll('*').length")
        print(f"{shown:,} studies, {nodes:,} elements")
        print(f"open               {opened * 1e3:6.0f} ms, {cpu:5.0f} ms of CPU")
        for name, acts in ACTS.items():
            times, costs = timed(page, clock, acts)
            print(
                f"{name:<18} {statistics.median(times):6.0f} ms, worst {max(times):.0f}; CPU "
                f"{statistics.median(costs):.0f} ms, worst {max(costs):.0f}"
            )
        clock.lap()
        frames, median, high, most = page.evaluate(SCROLL)
        print(
            f"scroll             {median:6.0f} ms a screenful, 99 % {high:.0f}, worst {most:.0f}; "
            f"CPU {clock.lap() / frames:.0f} ms, mean of {frames}"
        )
        browser.close()


class Clock:
    """CPU time of the page's main thread, in ms."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._last = 0.0

    def lap(self) -> float:
        """Since the last call."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        now = next(m["value"] for m in metrics if m["name"] == "TaskDuration") * 1e3
        took, self._last = now - self._last, now
        return took


def timed(
    page: Page, clock: Clock, acts: tuple[tuple[str, str], ...]
) -> tuple[list[float], list[float]]:
    """Waiting and CPU times of the acts, gone through five times."""
    times: list[float] = []
    costs: list[float] = []
    for act in acts * 5:
        clock.lap()
        times.append(page.evaluate(TIMED, list(act)))
        costs.append(clock.lap())
    return times, costs


if __name__ == "__main__":
    main()
