"use strict";
// Sorts and filters the studies, and steps through the statements of a report by arrow keys.
// Without it the page shows all studies in its own order, and hovering still tells.
(() => {
  const form = document.querySelector(".toolbar");
  if (!form) return;
  const list = document.querySelector(".cards");
  const empty = document.querySelector(".none-match");
  const output = form.querySelector("output");
  const kinds = form.dataset.kinds.split(" ");
  const errors = form.dataset.errors.split(" ");
  const diseases = [...Array(13).keys()];
  const names = new Intl.Collator("en", { numeric: true });

  // The kind of agreement of each finding: statuses are digits, in the order of the findings.
  const agreement = (reference, report) =>
    reference && report
      ? [...reference].map((status, i) => ({
          kind: kinds[4 * Number(status) + Number(report[i])],
          pair: `pair-${status}${report[i]}`,
        }))
      : [];

  const studies = [...list.children].map((element, index) => {
    const { id, change, codes } = element.dataset;
    const columns = [...element.querySelectorAll(".report[data-column]")].map((report) => {
      const found = agreement(codes, report.dataset.codes);
      const wrong = diseases.filter((i) => found[i] && errors.includes(found[i].kind)).length;
      const reward = report.dataset.reward;
      return {
        report, found,
        reward: reward === undefined ? null : Number(reward),
        errors: found.length ? wrong : null,
      };
    });
    return { element, index, id, change: change === "" ? null : Number(change), columns };
  });

  const words = (study) =>
    (study.words ??= [study.id, ...[...study.element.querySelectorAll(".text")]
      .map((text) => text.textContent)].join("\n").toLowerCase());

  const key = (study, sort) => {
    const [name, column] = sort.split("-");
    return column === undefined ? study[name] : study.columns[column][name];
  };

  const compare = (sort, sign) => (a, b) => {
    if (sort === "id") return sign * names.compare(a.id, b.id) || a.index - b.index;
    const [x, y] = [key(a, sort), key(b, sort)];
    if (x === null || y === null) return (x === null) - (y === null) || a.index - b.index;
    return sign * (x - y) || a.index - b.index;
  };

  // The findings of one report that are of the wanted kind.
  const hits = (column, { finding, kind }) =>
    (finding === "" ? diseases : [Number(finding)]).filter((i) => {
      const found = column.found[i];
      if (!found) return false;
      if (kind === "") return found.kind !== "silent";
      return found.kind === kind || found.pair === kind ||
        (kind === "error" && errors.includes(found.kind));
    });

  const matches = (study, choice) => {
    const text = choice.text.trim().toLowerCase();
    if (text && !words(study).includes(text)) return false;
    const moved = choice.where === "mended" || choice.where === "new";
    if (choice.kind === "" && choice.finding === "" && !moved) return true;
    const wanted = moved && choice.kind === "" ? { ...choice, kind: "error" } : choice;
    if (!moved) {
      const all = choice.where === "any" ? study.columns : [study.columns[choice.where]];
      return all.some((column) => hits(column, wanted).length > 0);
    }
    const [before, after] = study.columns.map((column) => hits(column, wanted));
    return choice.where === "mended"
      ? before.some((i) => !after.includes(i))
      : after.some((i) => !before.includes(i));
  };

  let order = studies;
  const update = () => {
    const choice = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const study of studies) {
      const match = matches(study, choice);
      if (study.element.hidden === match) study.element.hidden = !match;
      shown += match;
    }
    const sorted = [...studies].sort(compare(choice.sort, choice.order === "down" ? -1 : 1));
    if (sorted.some((study, i) => study !== order[i])) {
      order = sorted;
      list.replaceChildren(...order.map((study) => study.element));
    }
    empty.hidden = shown > 0;
    output.textContent = `${shown} of ${studies.length} shown`;
  };

  const showColumns = () => {
    for (const { value, checked } of form.querySelectorAll("[name=column]"))
      for (const study of studies) study.columns[value].report.hidden = !checked;
  };

  form.addEventListener("input", (event) => {
    if (event.target.name === "column") showColumns();
    else update();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { showColumns(); update(); }));

  // A number of the confusion tables chooses its studies.
  document.querySelector("#confusion")?.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    form.reset();
    form.finding.value = button.dataset.finding;
    form.kind.value = button.dataset.kind;
    form.where.value = button.dataset.column;
    setTimeout(() => { form.scrollIntoView(); form.finding.focus(); });
  });

  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  list.addEventListener("keydown", (event) => {
    const mark = event.target.closest("mark");
    if (!mark || !step[event.key]) return;
    event.preventDefault();
    const marks = [...mark.closest(".text").querySelectorAll("mark")];
    const next = marks[marks.indexOf(mark) + step[event.key]];
    if (!next) return;
    mark.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // The cues of a statement are lit while it is pointed at or focused.
  const light = (on) => (event) => {
    const mark = event.target.closest?.("mark[data-cues]");
    if (!mark) return;
    const cues = mark.closest(".text").querySelectorAll(".cue");
    for (const number of mark.dataset.cues.split(" ")) cues[number].classList.toggle("lit", on);
  };
  for (const type of ["pointerover", "focusin"]) list.addEventListener(type, light(true));
  for (const type of ["pointerout", "focusout"]) list.addEventListener(type, light(false));

  document.documentElement.classList.add("scripted");
  form.hidden = false;
  showColumns();
  update();
})();
