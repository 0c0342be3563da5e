"""Writes the reports of a trained policy, from pictures or a list of samples to a file.

Lines are written as they are made, to OUT.part, which takes the name OUT when all are there: a run
that is killed leaves whole lines to go on from, and never a file that looks complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mrg_r1.data.images import check_image
from mrg_r1.data.study import Sample
from mrg_r1.document import Document, compose
from mrg_r1.errors import ConfigError, DataError, MrgError
from mrg_r1.exports.files import Exports, file_names
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.policy.identity import identity
from mrg_r1.policy.load import load_policy, policy_folder
from mrg_r1.policy.settings import Decoding
from mrg_r1.policy.writing import write_drafts
from mrg_r1.records import read_jsonl, to_line
from mrg_r1.run import drop_torn_line

LeaveOut = Callable[[str], None]
"""Told why a sample is left out, or why one of its exports is not there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the samples: ids written now, ids there already, and what went wrong."""

    written: tuple[str, ...]
    kept: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()


def generate(
    policy: Path,
    samples: Sequence[Sample],
    out: Path | None,
    decoding: Decoding,
    *,
    drafts: int = 1,
    instruction: str = "",
    labeler: Labeler | None = None,
    exports: Exports | None = None,
    resume: bool = False,
    on_document: Callable[[Document], None] = lambda document: None,
    on_bad: LeaveOut = lambda reason: None,
) -> Outcome:
    """Writes one document per sample to `out` as JSON lines; images that cannot be read are told.

    Args:
        policy: a run folder, a saved policy, or a local model folder.
        samples: what to write about; references may be empty.
        out: the file; None leaves the documents to `on_document`.
        decoding: how completions are written.
        drafts: how many are sampled of each sample, of which the consensus is kept.
        instruction: of the prompt; the policy's own if empty.
        labeler: reads the findings; the embedded rules unless it is given.
        exports: other forms of each document, written before its line.
        resume: goes on with what an earlier run of the same settings left, or adds new samples.
        on_document: called with each document once it is stored.
        on_bad: called with why a sample or an export is left out, as soon as that is known.

    Raises:
        ConfigError: drafts of greedy decoding, which are all alike; an unfinished run that is not
            to be resumed, or one of other settings.
        DataError: there is no policy, no sample, or no image that can be read.
    """
    if not samples:
        raise DataError("generate: no images; name some, or give --data RECIPE --split SPLIT")
    if drafts > 1 and decoding.temperature <= 0:
        raise ConfigError("generate: greedy drafts are all alike; add --temperature 1")
    bad: list[str] = []

    def leave_out(reason: str) -> None:
        bad.append(reason)
        on_bad(reason)

    readable = [sample for sample in samples if _readable(sample, leave_out)]
    if not readable:
        among = f" (none of {len(bad):,} can be read)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{among}")
    policy_folder(policy)
    model, how = identity(policy), decoding.describe(drafts)
    reader = labeler or RulesLabeler()
    writer = _Writer(model, how, decoding, drafts, reader, instruction)
    kept = _resumed(out, writer, resume) if out else []
    _check_context(out, kept, samples)
    ids = [*(sample.id for sample in samples), *(document.id for document in kept)]
    export = _exporter(exports, file_names(ids), leave_out)
    done = dict.fromkeys(document.id for document in kept)
    wanted = [sample for sample in readable if sample.id not in done]
    for document in kept:
        export(document, missing=True)
    written: list[str] = []
    with _stored(out) as store:
        for document in writer.documents(policy, wanted, leave_out):
            export(document)
            store(document)
            written.append(document.id)
            on_document(document)
    return Outcome(tuple(written), tuple(done), tuple(bad))


@dataclass(frozen=True, slots=True)
class _Writer:
    """Which policy writes, how, who reads its findings, and in what words if not its own."""

    model: str
    how: str
    decoding: Decoding
    drafts: int
    labeler: Labeler
    instruction: str

    def documents(
        self, policy: Path, samples: Sequence[Sample], leave_out: LeaveOut
    ) -> Iterator[Document]:
        if not samples:
            return
        for sample, completions in write_drafts(
            load_policy(policy, instruction=self.instruction),
            samples,
            self.decoding,
            drafts=self.drafts,
            on_bad=lambda sample, error: leave_out(str(error)),
        ):
            yield compose(
                sample,
                completions,
                self.labeler,
                model=self.model,
                decoding=self.how,
                instruction=self.instruction,
            )

    def wrote(self, document: Document) -> bool:
        ours = (self.model, self.how, self.labeler.identity, self.instruction)
        theirs = (document.model, document.decoding, document.labeler, document.instruction)
        return theirs == ours


def _readable(sample: Sample, leave_out: LeaveOut) -> bool:
    """Whether headers and ends of the sample's images are whole; the rest shows in decoding."""
    try:
        for path in sample.images:
            check_image(path)
    except MrgError as error:
        leave_out(str(error))
        return False
    return True


def _check_context(out: Path | None, kept: Sequence[Document], samples: Sequence[Sample]) -> None:
    """Refuses to keep reports that were asked for with other context than is given now."""
    given = {sample.id: sample.context for sample in samples}
    for document in kept:
        if document.context != given.get(document.id, document.context):
            raise ConfigError(
                f"{out}: {document.id} was written with another indication or previous study; "
                "add -o OTHER"
            )


def _part(out: Path) -> Path:
    return out.with_name(f"{out.name}.part")


def _resumed(out: Path, writer: _Writer, resume: bool) -> list[Document]:
    """The documents that are there already, in OUT.part, to which others can be added."""
    part = _part(out)
    if part.exists():
        drop_torn_line(part)
        if not resume and part.stat().st_size:
            raise ConfigError(f"{part}: an unfinished run; add --resume, or remove the file")
    elif resume and out.exists():
        shutil.copyfile(out, part)
    kept = read_jsonl(part, Document) if part.exists() else []
    if others := [document for document in kept if not writer.wrote(document)]:
        was = others[0]
        raise ConfigError(
            f"{part}: begun by {was.model} ({was.decoding}; {was.labeler}), which is not "
            f"{writer.model} ({writer.how}; {writer.labeler.identity}); add -o OTHER"
        )
    return kept


@contextmanager
def _stored(out: Path | None) -> Generator[Callable[[Document], None]]:
    """Adds documents to OUT.part, line by line; without an error it becomes OUT."""
    if out is None:
        yield lambda document: None
        return
    part = _part(out)
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "a", encoding="utf-8", newline="") as file:

        def store(document: Document) -> None:
            file.write(to_line(document))
            file.flush()

        yield store
        os.fsync(file.fileno())
    if part.stat().st_size:
        os.replace(part, out)
    else:
        part.unlink()


def _exporter(
    exports: Exports | None, names: Mapping[str, str], leave_out: LeaveOut
) -> Callable[..., None]:
    def export(document: Document, *, missing: bool = False) -> None:
        if exports is None:
            return
        try:
            exports.write(document, names[document.id], missing=missing)
        except DataError as error:
            leave_out(str(error))

    return export
