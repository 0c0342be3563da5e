"use strict";
// Shows 16-bit greys on a canvas: windowed, zoomed, moved.
const viewer = (() => {
  const canvas = document.getElementById("canvas");
  const form = document.getElementById("window");
  const film = document.createElement("canvas");
  let image = null;
  let view = { scale: 1, x: 0, y: 0 };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  const table = () => {
    const { offset, step, low, high, inverted } = image;
    const greys = new Uint8ClampedArray(65536);
    for (let i = 0; i < 65536; i += 1) {
      const grey = (255 * (offset + step * i - low)) / (high - low || 1);
      greys[i] = inverted ? 255 - clamp(grey, 0, 255) : grey;
    }
    return greys;
  };

  const develop = () => {
    const greys = table();
    const { rows, columns, values } = image;
    const pixels = new Uint32Array(rows * columns);
    for (let i = 0; i < pixels.length; i += 1) {
      pixels[i] = 0xff000000 | (greys[values[i]] * 0x010101);
    }
    film.width = columns;
    film.height = rows;
    const data = new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows);
    film.getContext("2d").putImageData(data, 0, 0);
  };

  const draw = () => {
    if (!image) return;
    const box = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    const context = canvas.getContext("2d");
    const fit = Math.min(canvas.width / image.columns, canvas.height / image.rows);
    const scale = fit * view.scale;
    const [width, height] = [image.columns * scale, image.rows * scale];
    const left = (canvas.width - width) / 2 + view.x * ratio;
    const top = (canvas.height - height) / 2 + view.y * ratio;
    context.imageSmoothingEnabled = scale < 3;
    context.imageSmoothingQuality = "high";
    context.drawImage(film, left, top, width, height);
  };

  const digits = () => (image.step * 65535 > 20 ? 0 : 2);
  const tell = () => {
    form.level.value = (image.low + image.high) / 2;
    form.width.value = image.high - image.low;
    for (const name of ["level", "width"]) {
      form[name].nextElementSibling.textContent = Number(form[name].value).toFixed(digits());
    }
    form.querySelector("[data-do=invert]").setAttribute("aria-pressed", image.inverted !== image.given.inverted);
  };
  const show = () => { develop(); draw(); tell(); };

  const setWindow = (level, width) => {
    width = Math.max(width, image.step);
    image.low = level - width / 2;
    image.high = level + width / 2;
    show();
  };
  const shiftWindow = (level, width) => {
    const span = image.step * 65535;
    setWindow((image.low + image.high) / 2 + level * span, image.high - image.low + width * span);
  };
  const zoom = (factor, x = 0, y = 0) => {
    const scale = clamp(view.scale * factor, 1, 20);
    const grown = scale / view.scale;
    view = scale === 1 ? { scale, x: 0, y: 0 } : { scale, x: x - (x - view.x) * grown, y: y - (y - view.y) * grown };
    draw();
  };
  const move = (x, y) => { view.x += x; view.y += y; draw(); };
  const reset = () => { view = { scale: 1, x: 0, y: 0 }; Object.assign(image, image.given); show(); };
  const invert = () => { image.inverted = !image.inverted; show(); };

  const open = (next, name) => {
    const { low, high, inverted } = next;
    image = { ...next, given: { low, high, inverted } };
    const span = image.step * 65535;
    // The file's own window may reach beyond its values; sliders reach as far as both.
    form.level.min = Math.min(image.offset, low);
    form.level.max = Math.max(image.offset + span, high);
    form.width.min = image.step;
    form.width.max = Math.max(span, high - low) * 1.5;
    canvas.hidden = false;
    form.hidden = false;
    canvas.setAttribute("aria-label", `Chest X-ray, ${name}, ${image.columns} by ${image.rows} pixels`);
    reset();
  };

  const actions = { in: () => zoom(1.4), out: () => zoom(1 / 1.4), fit: reset, invert };
  form.addEventListener("click", (event) => actions[event.target.dataset.do]?.());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => setWindow(Number(form.level.value), Number(form.width.value)));

  const keys = {
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: reset, i: invert,
    ArrowLeft: (event) => (event.shiftKey ? shiftWindow(0, -0.02) : move(30, 0)),
    ArrowRight: (event) => (event.shiftKey ? shiftWindow(0, 0.02) : move(-30, 0)),
    ArrowUp: (event) => (event.shiftKey ? shiftWindow(0.02, 0) : move(0, 30)),
    ArrowDown: (event) => (event.shiftKey ? shiftWindow(-0.02, 0) : move(0, -30)),
  };
  canvas.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (!action || !image) return;
    event.preventDefault();
    action(event);
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    zoom(Math.exp(-event.deltaY / 400), x, y);
  }, { passive: false });

  const held = new Map();
  const spread = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = held.get(event.pointerId);
    if (!last || !image) return;
    const before = held.size === 2 ? spread() : 0;
    held.set(event.pointerId, event);
    const [x, y] = [event.clientX - last.clientX, event.clientY - last.clientY];
    if (held.size === 2) zoom(spread() / (before || 1));
    else if (event.shiftKey || event.buttons === 2) shiftWindow(y / 500, x / 500);
    else move(x, y);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => held.delete(event.pointerId));
  }
  new ResizeObserver(draw).observe(canvas);

  return { open };
})();
