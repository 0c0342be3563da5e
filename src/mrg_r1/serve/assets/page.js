"use strict";
// Sends images, shows what comes back. All text from the server becomes text nodes, never markup.
(() => {
  const at = (id) => document.getElementById(id);
  const [files, drop, ask, result, alertBox] = ["files", "drop", "ask", "result", "alert"].map(at);
  const marks = { positive: "+", negative: "\u2212", uncertain: "?" };
  // As the audit page spells them out: characters that hide, reorder or break text.
  const invisible = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb]/g;
  const visible = (text) => text.replace(invisible, (c) => `[U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  let chosen = [];
  let answer = null;
  let writing = null;
  let turn = 0;

  const complain = (text) => {
    alertBox.hidden = !text;
    alertBox.textContent = text ? visible(text) : "";
  };
  const status = (text) => { at("status").textContent = text; };
  const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

  const problem = async (response) => {
    const body = await response.json().catch(() => ({}));
    const detail = body.detail ?? response.statusText;
    const words = typeof detail === "string" ? detail
      : detail.map((row) => `${row.field}: ${row.problem}`).join("; ");
    return `${words} (${response.status})`;
  };
  const call = async (path, options = {}) => {
    const headers = { ...options.headers };
    const token = sessionStorage.getItem("token");
    if (token) headers.Authorization = `Bearer ${token}`;
    const response = await fetch(path, { ...options, headers }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer.");
    });
    at("token").hidden = response.status !== 401;
    if (!response.ok) throw new Error(await problem(response));
    return response;
  };
  const post = (path, body) => call(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });

  at("token").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", event.target.elements.token.value);
    event.target.hidden = true;
    complain("");
    if (chosen.length) choose(chosen);
  });

  // Images
  const preview = async (file) => {
    const body = new FormData();
    body.append("image", file, "image");
    const response = await call("/preview", { method: "POST", body });
    const values = new Uint16Array(await response.arrayBuffer());
    return { ...JSON.parse(response.headers.get("X-Image")), values };
  };
  const look = async (index) => {
    const mine = (turn += 1);
    [...at("views").children].forEach((button, i) => button.setAttribute("aria-pressed", i === index));
    const image = await preview(chosen[index]);
    if (mine !== turn) return;
    at("invite").hidden = true;
    viewer.open(image, chosen.length > 1 ? `view ${index + 1} of ${chosen.length}` : "one view");
  };
  const choose = async (list) => {
    chosen = [...list];
    if (!chosen.length) return;
    writing?.abort();
    complain("");
    result.hidden = true;
    at("compare").hidden = true;
    answer = null;
    at("views").hidden = chosen.length < 2;
    at("views").replaceChildren(...chosen.map((_, i) => {
      const button = element("button", { type: "button" }, `View ${i + 1}`);
      button.addEventListener("click", () => look(i).catch((error) => complain(error.message)));
      return button;
    }));
    at("write").disabled = true;
    status("Reading the image\u2026");
    try {
      await look(0);
      at("write").disabled = false;
      status("");
    } catch (error) {
      status("");
      complain(error.message);
    }
  };
  files.addEventListener("change", () => { choose(files.files); files.value = ""; });
  for (const name of ["dragover", "dragleave", "drop"]) {
    // Dropped beside the frame, a file would replace the page.
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
    });
  }
  document.addEventListener("drop", (event) => choose(event.dataTransfer.files));

  // Writing
  const split = (text) => {
    const [think, report = ""] = text.split("<report>");
    const strip = (part) => part.replace(/<\/?(think|report)>/g, "").trim();
    return { think: strip(think), report: strip(report) };
  };
  const showText = ({ think, report }) => {
    at("think").hidden = !think;
    at("think").querySelector("p").textContent = visible(think);
    at("report").textContent = visible(report);
  };
  const events = async function* (response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      buffer += value;
      const blocks = buffer.split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) {
        const parts = Object.fromEntries(block.split("\n").map((line) => {
          const colon = line.indexOf(":");
          return [line.slice(0, colon), line.slice(colon + 1).trim()];
        }));
        if (parts.event) yield [parts.event, JSON.parse(parts.data)];
      }
    }
  };
  const follow = async (response) => {
    let text = "";
    for await (const [name, data] of events(response)) {
      if (name === "delta") showText(split((text += data.text)));
      if (name === "error") throw new Error(data.problem);
      if (name === "answer") return data;
    }
    throw new Error("The server stopped in mid-answer.");
  };
  const busy = (on) => {
    at("write").disabled = on;
    at("stop").hidden = !on;
    at("report").classList.toggle("writing", on);
  };
  ask.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = new FormData();
    for (const file of chosen) body.append("image", file, "image");
    const drafts = Number(ask.elements.drafts.value);
    body.append("drafts", drafts);
    body.append("stream", "true");
    for (const { value, name } of ask.querySelectorAll("textarea")) if (value.trim()) body.append(name, value);
    const mine = (writing = new AbortController());
    complain("");
    showText({ think: "", report: "" });
    result.hidden = false;
    at("read").hidden = true;
    at("compared").hidden = true;
    busy(true);
    status(drafts > 1 ? `Writing ${drafts} drafts; the first is shown as it is written\u2026` : "Writing\u2026");
    const start = performance.now();
    try {
      const done = await follow(await call("/report", { method: "POST", body, signal: mine.signal }));
      if (mine !== writing) return;
      answer = done;
      showAnswer();
      status(`Written in ${((performance.now() - start) / 1000).toFixed(1)} s.`);
    } catch (error) {
      if (mine !== writing) return;
      status(error.name === "AbortError" ? "Stopped." : "");
      complain(error.name === "AbortError" ? "" : error.message);
    } finally {
      if (mine === writing) busy(false);
    }
  });
  at("stop").addEventListener("click", () => writing.abort());

  // The answer
  const pieces = (text, evidence) => {
    // Places count Unicode characters; a string's own index counts UTF-16.
    const letters = [...text];
    const cut = (from, to) => visible(letters.slice(from, to).join(""));
    const nodes = [];
    let place = 0;
    const sentences = new Map();
    evidence.forEach((e) => {
      const key = `${e.sentence_start}-${e.sentence_end}`;
      sentences.set(key, [...(sentences.get(key) ?? []), e]);
    });
    const ordered = [...sentences.values()].sort((a, b) => a[0].sentence_start - b[0].sentence_start);
    for (const said of ordered) {
      const { sentence_start: start, sentence_end: end } = said[0];
      nodes.push(cut(place, start));
      const mark = element("mark", { "data-findings": [...new Set(said.map((e) => e.finding))].join("|") });
      let inner = start;
      for (const e of [...said].sort((a, b) => a.start - b.start)) {
        if (e.start < inner) continue;
        mark.append(cut(inner, e.start), element("b", {}, cut(e.start, e.end)));
        inner = e.end;
      }
      mark.append(cut(inner, end));
      nodes.push(mark);
      place = end;
    }
    return [...nodes, cut(place, letters.length)];
  };
  const light = (finding) => {
    let first = null;
    for (const mark of at("report").querySelectorAll("mark")) {
      const lit = mark.dataset.findings.split("|").includes(finding);
      mark.classList.toggle("lit", lit);
      if (lit) first ??= mark;
    }
    first?.scrollIntoView({ block: "nearest" });
  };
  const claim = (finding, said) => {
    const share = answer.agreement[finding]?.[said];
    const found = answer.evidence.some((e) => e.finding === finding);
    const sure = share === undefined ? "" : `, ${Math.round(100 * share)} % of the drafts`;
    const kind = { type: "button", class: `chip said-${said}`, "aria-pressed": "false" };
    const button = element("button", { ...kind, "aria-label": `${finding}, ${said}${sure}` },
      element("i", { "aria-hidden": "true" }, marks[said]), finding);
    if (share !== undefined) {
      const words = `${Math.round(100 * share)} %`;
      button.append(element("span", { class: "share", title: "share of the drafts that say so" }, words));
    }
    // No Finding is what is left when nothing is said: no words speak of it.
    button.disabled = !found;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of at("claims").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", on);
      light(on ? finding : "");
    });
    return element("li", {}, button);
  };
  const showAnswer = () => {
    showText(answer);
    if (answer.report) at("report").replaceChildren(...pieces(answer.report, answer.evidence));
    else at("report").textContent = "The policy wrote no report.";
    const order = ["positive", "uncertain", "negative"];
    const claims = Object.entries(answer.findings).sort(([, a], [, b]) => order.indexOf(a) - order.indexOf(b));
    at("claims").replaceChildren(...claims.map(([finding, said]) => claim(finding, said)));
    at("labeler").textContent = answer.labeler;
    at("sure").textContent = answer.drafts > 1
      ? `Percentages: how many of ${answer.drafts} drafts say the same. Drafts can agree and be wrong.`
      : "One draft tells nothing of how sure the policy is; ask for several.";
    const notes = [...answer.violations, ...(answer.cut ? ["cut by the length limit"] : [])];
    at("made").textContent = `${answer.model}, ${answer.decoding}. ${answer.notice}`
      + (notes.length ? ` Form: ${notes.join(", ")}.` : "");
    at("read").hidden = false;
    at("compare").hidden = false;
    if (at("reference").value.trim()) compare().catch((error) => complain(error.message));
  };

  const save = async (form) => {
    const response = await post(`/export/${form}`, answer);
    const name = response.headers.get("Content-Disposition").match(/filename="([^"]+)"/)[1];
    const link = element("a", { href: URL.createObjectURL(await response.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  at("downloads").addEventListener("click", (event) => {
    const { form } = event.target.dataset;
    if (form) save(form).then(() => complain(""), (error) => complain(error.message));
  });

  const compare = async () => {
    const reference = at("reference").value;
    const response = await post("/labels", { report: answer.report, reference });
    const { kinds } = await response.json();
    at("reference-text").textContent = visible(reference);
    at("kinds").replaceChildren(...kinds.map((k) => {
      const words = `${k.finding}: ${k.meaning} (reference ${k.reference}, report ${k.report})`;
      return element("li", { class: `chip ${k.kind}`, title: words },
        element("i", { "aria-hidden": "true" }, k.mark), k.finding,
        element("span", { class: "aside" }, `, ${k.meaning}`));
    }));
    const agree = kinds.filter((k) => k.kind.startsWith("agree")).length;
    at("counts").textContent = kinds.length
      ? `${plural(kinds.length, "finding")} mentioned in either, ${agree} said alike. Colours are the audit page's.`
      : "Paste a reference that says something of the findings.";
    at("compared").hidden = false;
  };
  at("compare").addEventListener("submit", (event) => {
    event.preventDefault();
    compare().then(() => complain(""), (error) => complain(error.message));
  });

  call("/health").then((response) => response.json()).then(({ model, drafts, context }) => {
    for (const label of ask.querySelectorAll(".context")) label.hidden = !context.includes(label.dataset.kind);
    at("model").textContent = `Policy ${model}`;
    for (const option of ask.elements.drafts.options) option.hidden = Number(option.value) > drafts;
  }).catch((error) => complain(error.message));
})();
