/** The page: it takes pictures and settings, asks the worker, and shows the answers. */
"use strict";
(() => {
  const LARGEST_FILE = 50e6; // bytes
  const LARGEST_PICTURE = 40e6; // pixels
  const LONGEST_SHOWN = 1600; // pixels of the canvases
  const EDGE = 255; // opacity of the lines between classes
  const STEP = 0.01; // of an arrow key, as a share of the picture
  const element = (id) => document.getElementById(id);
  const { model, colors, clear, presets, preset } = JSON.parse(element("facts").textContent);
  const sliders = [...element("crf-settings").querySelectorAll("input[type=range]")];
  const STAGES = { open: "Starting the network", network: "Network", crf: "Dense CRF" };

  /** What is shown: the picture, its result, and how. */
  const shown = { name: "", picture: null, result: null, mode: "overlay", highlighted: null, place: null };
  let worker = null;
  let sent = null; // the picture that the worker has
  let number = 0; // of the newest wish

  /** A sentence for the reader. */
  class Refusal extends Error {}

  /* Pictures ------------------------------------------------------------------------------------------------------- */

  /** Read a file as {pixels (H, W, 4), size}; its size is known before it is decoded. */
  async function read(file, name) {
    const megabytes = (file.size / 1e6).toFixed(1);
    if (file.size > LARGEST_FILE) throw new Refusal(`${name} has ${megabytes} MB; at most 50 are read.`);
    const unreadable = `${name} cannot be read as a picture. Browsers read JPEG, PNG, WebP, GIF, BMP and AVIF.`;
    const address = URL.createObjectURL(file);
    const image = new Image();
    const loaded = new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject }));
    image.src = address;
    try {
      await loaded;
    } catch {
      throw new Refusal(unreadable);
    } finally {
      URL.revokeObjectURL(address);
    }
    const millions = (image.naturalWidth * image.naturalHeight) / 1e6;
    if (millions * 1e6 > LARGEST_PICTURE) {
      throw new Refusal(`${name} has ${millions.toFixed(1)} million pixels; at most 40 are segmented. Scale it down.`);
    }
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch {
      throw new Refusal(unreadable);
    }
    const { width, height } = bitmap;
    const context = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff"; // behind what is transparent
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return { pixels: context.getImageData(0, 0, width, height).data, size: [height, width] };
  }

  function canvasOf(width, height) {
    return Object.assign(document.createElement("canvas"), { width, height });
  }

  /** Add files to the strip, and take the first one. */
  function add(files) {
    const buttons = [...files].map((file) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "thumb", title: file.name });
      const image = Object.assign(new Image(), { src: URL.createObjectURL(file), alt: file.name || "picture" });
      button.append(image);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => take(file, file.name || "the picture", button));
      image.addEventListener("error", () => button.remove());
      element("strip").append(button);
      return button;
    });
    buttons[0]?.click();
  }

  let reading = 0;
  async function take(file, name, button) {
    const own = ++reading;
    end();
    complain("");
    for (const each of element("strip").children) each.setAttribute("aria-pressed", String(each === button));
    try {
      const picture = await read(file, name);
      if (own !== reading) return;
      Object.assign(shown, { name, picture, result: null, place: null });
      drawPicture();
      wish();
    } catch (error) {
      if (own !== reading) return;
      complain(error instanceof Refusal ? error.message : `${name} cannot be segmented: ${error.message}`);
    }
  }

  function complain(sentence) {
    element("alert").textContent = sentence;
    element("alert").hidden = !sentence;
  }

  /* The worker ------------------------------------------------------------------------------------------------------ */

  function start() {
    const text = ["dense_crf", "segmentation", "worker"].map((id) => element(id).textContent).join("\n");
    worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    worker.onmessage = ({ data }) => data.number === number && hear(data);
    worker.onerror = (event) => hear({ kind: "failed", sentence: event.message || "the worker ended" });
    const [runtime, wasm, graph] = ["runtime", "wasm", "graph"].map((id) => element(id).textContent);
    worker.postMessage({ kind: "open", runtime, wasm, graph, model });
  }

  /** End the worker, whatever it does. */
  function stop() {
    worker?.terminate();
    [worker, sent] = [null, null];
    end();
  }

  /** Take no answers to earlier wishes any more. */
  function end() {
    number++;
    element("status").hidden = true;
  }

  /** Ask for the picture's result by the present settings. */
  function wish() {
    if (!shown.picture) return;
    const crf = element("crf").checked ? settings : null;
    const picture = sent === shown.picture ? null : shown.picture;
    if (!worker) start();
    worker.postMessage({ kind: "wish", number: ++number, picture, longest: Number(element("longest").value), crf });
    sent = shown.picture;
    progress("open");
  }

  function progress(stage, share) {
    element("status").hidden = false;
    element("stage").textContent = share === undefined ? `${STAGES[stage]} …` : `${STAGES[stage]} ${Math.round(100 * share)} %`;
    if (share === undefined) element("progress").removeAttribute("value");
    else element("progress").value = share;
  }

  function hear(answer) {
    if (answer.kind === "progress") {
      progress(answer.stage, answer.share);
    } else if (answer.kind === "result") {
      element("status").hidden = true;
      complain("");
      shown.result = answer;
      present();
    } else {
      stop();
      const advice = /memory|allocat|length/i.test(answer.sentence) ? " Choose a smaller longest side." : "";
      complain(`The picture could not be segmented: ${answer.sentence}.${advice}`);
    }
  }

  /* Results --------------------------------------------------------------------------------------------------------- */

  /** Draw the picture, without a result. */
  function drawPicture() {
    const { pixels, size } = shown.picture;
    const [height, width] = size;
    const whole = canvasOf(width, height);
    whole.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    const scale = Math.min(1, LONGEST_SHOWN / Math.max(height, width));
    const sides = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
    const [below, above] = [Object.assign(element("pixels"), sides), Object.assign(element("classes"), sides)];
    // small pictures are enlarged, up to the width of the column
    below.style.width = `${Math.max(sides.width, Math.min(640, 4 * sides.width))}px`;
    Object.assign(below.getContext("2d"), { imageSmoothingQuality: "high" }).drawImage(whole, 0, 0, sides.width, sides.height);
    above.getContext("2d").clearRect(0, 0, sides.width, sides.height);
    element("cross").hidden = true;
    element("result").dataset.state = "picture";
  }

  let saved = null; // the address of the mask
  async function present() {
    const { result, name } = shown;
    const [height, width] = result.size;
    drawClasses();
    legend();
    const isSame = result.smallSize[0] === height && result.smallSize[1] === width;
    element("remark").textContent = isSame ? "" : `segmented at ${result.smallSize[1]}x${result.smallSize[0]}, shown at ${width}x${height}`;
    const { network, crf } = result.seconds;
    element("time").textContent = `network ${network.toFixed(1)} s${crf === null ? "" : `, CRF ${crf.toFixed(1)} s`}`;
    element("result").dataset.state = "result";
    if (shown.place) point(...shown.place);
    const link = element("mask");
    link.removeAttribute("href");
    link.setAttribute("aria-disabled", "true");
    const file = await segmentation.palettePNG(result.labels, result.size, colors);
    if (shown.result !== result) return;
    if (saved) URL.revokeObjectURL(saved);
    saved = URL.createObjectURL(file);
    link.href = saved;
    link.download = `${name.replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_") || "picture"}_mask.png`;
    link.removeAttribute("aria-disabled");
  }

  /** Tint and outline the classes; the mask hides the picture, and the background hides nothing. */
  function drawClasses() {
    if (!shown.result) return;
    const { labels, size } = shown.result;
    const canvas = element("classes");
    const { width, height } = canvas;
    const context = canvas.getContext("2d");
    const drawn = context.createImageData(width, height);
    const columns = Int32Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * size[1]) / width));
    const rows = Int32Array.from({ length: height }, (_, y) => Math.floor(((y + 0.5) * size[0]) / height) * size[1]);
    const at = (x, y) => labels[rows[y] + columns[x]];
    const tint = Math.round(255 * (element("opacity").value / 100));
    const isMask = shown.mode === "mask";
    for (let y = 0, to = 0; y < height && shown.mode !== "picture"; y++) {
      for (let x = 0; x < width; x++, to += 4) {
        const label = at(x, y);
        let alpha = isMask ? 255 : label === clear ? 0 : tint;
        if (!isMask && label !== clear && tint) {
          const isEdge = (x && at(x - 1, y) !== label) || (x + 1 < width && at(x + 1, y) !== label)
            || (y && at(x, y - 1) !== label) || (y + 1 < height && at(x, y + 1) !== label);
          if (isEdge) alpha = EDGE;
        }
        if (shown.highlighted !== null && label !== shown.highlighted) alpha = Math.round(alpha / 6);
        drawn.data.set(colors[label], to);
        drawn.data[to + 3] = alpha;
      }
    }
    context.putImageData(drawn, 0, 0);
  }

  function legend() {
    const counts = new Float64Array(256);
    for (const label of shown.result.labels) counts[label]++;
    const present = [...counts.keys()].filter((label) => counts[label]).sort((a, b) => counts[b] - counts[a]);
    element("legend").replaceChildren(...present.map((label) => {
      const entry = document.createElement("li");
      entry.append(swatch(label), part("label", model.classNames[label]), part("share", percent(counts[label] / shown.result.labels.length)));
      entry.addEventListener("pointerenter", () => highlight(label));
      entry.addEventListener("pointerleave", () => highlight(null));
      return entry;
    }));
  }

  const percent = (share) => (share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`);

  function part(className, text) {
    return Object.assign(document.createElement("span"), { className, textContent: text });
  }

  function swatch(label) {
    const square = part("swatch", "");
    square.style.background = `rgb(${colors[label]})`;
    return square;
  }

  function highlight(label) {
    shown.highlighted = label;
    drawClasses();
  }

  /** Show the probabilities at a place, in shares of the sides. */
  function point(x, y) {
    if (!shown.result) return;
    const { probabilities, smallSize: [height, width] } = shown.result;
    const inside = (share) => Math.min(Math.max(share, 0), 0.9999);
    const place = shown.place = [inside(x), inside(y)];
    const cross = element("cross");
    cross.hidden = false;
    cross.style.left = `${100 * place[0]}%`;
    cross.style.top = `${100 * place[1]}%`;
    const pixel = Math.floor(place[1] * height) * width + Math.floor(place[0] * width);
    const shares = model.classNames.map((_, label) => probabilities[label * height * width + pixel]);
    const first = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 3);
    element("readout").replaceChildren(...first.map((label) => {
      const row = part("row", "");
      const bar = part("bar", "");
      bar.style.setProperty("--share", shares[label]);
      row.append(swatch(label), part("label", model.classNames[label]), bar, part("share", `${(100 * shares[label]).toFixed(1)} %`));
      return row;
    }));
  }

  /* Controls -------------------------------------------------------------------------------------------------------- */

  /** Write a value beside its slider, which rounds and clamps its own. */
  function tell(slider, value) {
    slider.closest("label").querySelector("output").textContent = Number(value.toPrecision(6));
  }

  let settings = {}; // of the CRF: the preset's, and what was moved since
  function setPreset() {
    settings = { ...presets[element("preset").value] };
    for (const slider of sliders) {
      slider.value = settings[slider.name];
      tell(slider, settings[slider.name]);
    }
  }

  function listen() {
    element("file").addEventListener("change", ({ target }) => {
      add(target.files);
      target.value = "";
    });
    addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    });
    addEventListener("dragleave", () => document.body.classList.remove("dragging"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dragging");
      add(event.dataTransfer.files);
    });
    addEventListener("paste", (event) => add(event.clipboardData.files));
    for (const button of element("strip").children) {
      button.addEventListener("click", async () => {
        const [type, text] = button.querySelector("img").src.slice(5).split(";base64,");
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        take(new Blob([bytes], { type }), button.dataset.name, button);
      });
    }
    element("longest").addEventListener("input", ({ target }) => tell(target, target.valueAsNumber));
    element("longest").addEventListener("change", wish);
    element("crf").addEventListener("change", ({ target }) => {
      element("crf-settings").hidden = !target.checked;
      wish();
    });
    element("preset").addEventListener("change", () => {
      setPreset();
      wish();
    });
    for (const slider of sliders) {
      slider.addEventListener("input", () => {
        settings[slider.name] = slider.valueAsNumber;
        tell(slider, slider.valueAsNumber);
      });
      slider.addEventListener("change", wish);
    }
    element("cancel").addEventListener("click", stop);
    element("opacity").addEventListener("input", drawClasses);
    for (const button of document.querySelectorAll(".modes button")) {
      button.addEventListener("click", () => setMode(button.dataset.mode));
    }
    const stage = element("picture");
    const follow = (event) => {
      const box = stage.getBoundingClientRect();
      point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    stage.addEventListener("pointermove", follow);
    stage.addEventListener("pointerdown", follow);
    stage.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!move) return;
      event.preventDefault();
      const [x, y] = shown.place ?? [0.5, 0.5];
      point(x + STEP * move[0], y + STEP * move[1]);
    });
  }

  function setMode(mode) {
    shown.mode = mode;
    document.querySelector(".view").dataset.mode = mode;
    for (const button of document.querySelectorAll(".modes button")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    drawClasses();
  }

  element("preset").append(...Object.keys(presets).map((name) => new Option(name, name, name === preset, name === preset)));
  for (const each of document.querySelectorAll("[data-color]")) each.style.background = `rgb(${each.dataset.color})`;
  setPreset();
  tell(element("longest"), element("longest").valueAsNumber);
  setMode("overlay");
  listen();
  start();
})();
