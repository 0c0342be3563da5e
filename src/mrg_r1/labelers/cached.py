"""A labeler that labels each distinct text once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from mrg_r1.findings import Labels
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.store import LabelStore


class CachedLabeler:
    """Wraps a labeler and remembers the texts it labelled last.

    References come back at every step of a training and completions repeat one another; the
    inner labeler sees each distinct text once, in one batch a call.

    Args:
        inner: the labeler that does the work.
        size: how many texts to remember; the least recently used is forgotten first.
        store: keeps all of them in a file, from run to run; none unless it is given.
    """

    def __init__(self, inner: Labeler, size: int = 65_536, store: LabelStore | None = None) -> None:
        if size < 1:
            raise ValueError(f"a cache remembers at least 1 text, not {size}")
        self.inner = inner
        self.size = size
        self.store = store
        self._known: OrderedDict[str, Labels] = OrderedDict()
        self._kept: dict[str, Labels] = {}

    @property
    def identity(self) -> str:
        """The inner labeler's: a cache changes no label."""
        return self.inner.identity

    def label(self, reports: Sequence[str]) -> list[Labels]:
        """Labels of each report, in order."""
        passing = [report for report in dict.fromkeys(reports) if report not in self._kept]
        new = [report for report in passing if report not in self._known]
        fresh = self._label(new) if new else {}
        latest = {r: fresh[r] if r in fresh else self._known[r] for r in passing}
        for report, found in latest.items():
            self._known[report] = found
            self._known.move_to_end(report)
        while len(self._known) > self.size:
            self._known.popitem(last=False)
        return [self._kept[r] if r in self._kept else latest[r] for r in reports]

    def keep(self, labels: Mapping[str, Labels]) -> None:
        """Remembers labels of these texts for good, beside the `size` others."""
        self._kept |= labels

    def _label(self, reports: Sequence[str]) -> dict[str, Labels]:
        """Labels of reports that are not remembered: from the store, else from the labeler."""
        stored = self.store.get(reports) if self.store else {}
        new = [report for report in reports if report not in stored]
        fresh = dict(zip(new, self.inner.label(new), strict=True)) if new else {}
        if self.store and fresh:
            self.store.put(fresh)
        return stored | fresh
