"use strict";
// Sorts and filters the studies. Without it the page shows all of them in its own order.
(() => {
  const form = document.querySelector(".toolbar");
  if (!form) return;
  const list = document.querySelector(".cards");
  const empty = document.querySelector(".none-match");
  const output = form.querySelector("output");
  const errors = ["flipped", "missed", "invented"];
  const names = new Intl.Collator("en", { numeric: true });

  const number = (text) => (text === "" ? null : Number(text));
  const words = (text) => (text ? text.split(" ") : []);
  const studies = [...list.children].map((element, index) => ({
    element,
    index,
    id: element.dataset.id,
    before: number(element.dataset.before),
    after: number(element.dataset.after),
    change: number(element.dataset.change),
    kindsBefore: words(element.dataset.kindsBefore),
    kindsAfter: words(element.dataset.kindsAfter),
    text: [element.dataset.id, ...[...element.querySelectorAll(".text")].map((p) => p.textContent)]
      .join("\n").toLowerCase(),
  }));

  const compare = (key, sign) => (a, b) => {
    if (key === "id") return sign * names.compare(a.id, b.id) || a.index - b.index;
    if (a[key] === null || b[key] === null) return (a[key] === null) - (b[key] === null);
    return sign * (a[key] - b[key]) || a.index - b.index;
  };

  // A token is 'missed-3': a kind of agreement and the number of the finding.
  const wanted = (kind, finding) => (token) => {
    const [, ofKind, ofFinding] = token.match(/^(.*)-(\d+)$/);
    const right = kind === "" || ofKind === kind || (kind === "error" && errors.includes(ofKind));
    return right && (finding === "" || ofFinding === finding);
  };

  const matches = (study, { kind, finding, where, text }) => {
    if (!study.text.includes(text.trim().toLowerCase())) return false;
    const moved = where === "mended" || where === "new";
    if (kind === "" && finding === "" && !moved) return true;
    const test = wanted(moved && kind === "" ? "error" : kind, finding);
    const before = study.kindsBefore.filter(test);
    const after = study.kindsAfter.filter(test);
    if (where === "mended") return before.some((token) => !after.includes(token));
    if (where === "new") return after.some((token) => !before.includes(token));
    return (where === "before" ? before : after).length > 0;
  };

  const update = () => {
    const choice = Object.fromEntries(new FormData(form));
    const sign = choice.order === "down" ? -1 : 1;
    const shown = studies.filter((study) => {
      study.element.hidden = !matches(study, choice);
      return !study.element.hidden;
    });
    list.append(...[...studies].sort(compare(choice.sort, sign)).map((study) => study.element));
    empty.hidden = shown.length > 0;
    output.textContent = `${shown.length} of ${studies.length} shown`;
  };

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  form.hidden = false;
  update();
})();
