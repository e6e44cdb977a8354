// The element <deeplab-view> of view.html.jinja: draws the label map over its picture, and shows the probabilities at a
// point. All views on a page share the point, the mode and the opacity, so that models can be compared.
"use strict";
(() => {
  const EDGE = 255;  // opacity of the lines between classes
  const STEP = 0.01;  // of an arrow key, as a share of the picture
  const shared = { views: new Set(), mode: "overlay", opacity: 0.55 };

  /** The pixels of an image whose values are numbers. */
  async function pixels(image) {
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  class DeepLabView extends HTMLElement {
    static observedAttributes = ["data-answer"];

    connectedCallback() {
      shared.views.add(this);
      this.listen();
    }

    disconnectedCallback() {
      shared.views.delete(this);
    }

    /** Gradio changes the attributes and children of an element that is there already, this attribute perhaps first. */
    attributeChangedCallback() {
      setTimeout(() => this.load());
    }

    async load() {
      const answer = this.dataset.answer;
      const [labels, shares] = await Promise.all([".dl-labels", ".dl-shares"].map((name) => pixels(this.querySelector(name))));
      if (answer !== this.dataset.answer) return;  // a newer one is being loaded
      Object.assign(this, { labels, shares, highlighted: null, stage: this.querySelector(".dl-stage") });
      this.names = JSON.parse(this.dataset.names);
      this.colors = JSON.parse(this.dataset.colors);
      this.clear = this.dataset.clear === "" ? -1 : Number(this.dataset.clear);
      this.show();
      if (shared.place) this.read(...shared.place);
      this.dataset.ready = answer;
    }

    /** Listen on this element, because its children may be replaced. */
    listen() {
      if (this.listens) return;
      this.listens = true;
      this.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-mode]");
        if (!button) return;
        shared.mode = button.dataset.mode;
        for (const view of shared.views) view.show();
      });
      this.addEventListener("input", (event) => {
        shared.opacity = event.target.value / 100;
        for (const view of shared.views) view.show();
      });
      const follow = (event) => {
        if (!event.target.closest(".dl-stage")) return;
        const box = this.stage.getBoundingClientRect();
        this.point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      };
      this.addEventListener("pointermove", follow);
      this.addEventListener("pointerdown", follow);
      this.addEventListener("pointerover", (event) => {
        const entry = event.target.closest(".dl-legend li");
        this.highlight(entry ? Number(entry.dataset.index) : null);
      });
      this.addEventListener("pointerleave", () => this.highlight(null));
      this.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!move || !event.target.closest(".dl-stage")) return;
        event.preventDefault();
        const [x, y] = shared.place ?? [0.5, 0.5];
        this.point(x + STEP * move[0], y + STEP * move[1]);
      });
    }

    highlight(label) {
      if (!this.labels || label === this.highlighted) return;
      this.highlighted = label;
      this.draw();
    }

    show() {
      if (!this.labels) return;
      this.dataset.mode = shared.mode;
      this.querySelector(".dl-opacity input").value = Math.round(100 * shared.opacity);
      for (const button of this.querySelectorAll("button[data-mode]")) {
        button.setAttribute("aria-pressed", String(button.dataset.mode === shared.mode));
      }
      this.draw();
    }

    /** Tint and outline the classes; the mask hides the picture, and the background hides nothing. */
    draw() {
      const { data, width, height } = this.labels;
      const canvas = this.querySelector(".dl-classes");
      const context = canvas.getContext("2d");
      const drawn = context.createImageData(width, height);
      const isMask = shared.mode === "mask";
      const tint = Math.round(255 * shared.opacity);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const at = 4 * (y * width + x);
          const label = data[at];
          let alpha = isMask ? 255 : label === this.clear ? 0 : tint;
          if (!isMask && label !== this.clear && tint) {
            const isEdge = (x && data[at - 4] !== label) || (x + 1 < width && data[at + 4] !== label)
              || (y && data[at - 4 * width] !== label) || (y + 1 < height && data[at + 4 * width] !== label);
            if (isEdge) alpha = EDGE;
          }
          if (this.highlighted !== null && label !== this.highlighted) alpha = Math.round(alpha / 6);
          const color = this.colors[label];
          drawn.data[at] = color[0];
          drawn.data[at + 1] = color[1];
          drawn.data[at + 2] = color[2];
          drawn.data[at + 3] = shared.mode === "picture" ? 0 : alpha;
        }
      }
      context.putImageData(drawn, 0, 0);
    }

    /** Show the probabilities at a place, in shares of the sides, in all views. */
    point(x, y) {
      const inside = (share) => Math.min(Math.max(share, 0), 0.9999);
      shared.place = [inside(x), inside(y)];
      for (const view of shared.views) view.read(...shared.place);
    }

    read(x, y) {
      if (!this.shares) return;
      const { data, width } = this.shares;
      const height = this.shares.height / 2;
      const at = 4 * (Math.floor(y * height) * width + Math.floor(x * width));
      const below = at + 4 * width * height;
      const cross = this.querySelector(".dl-cross");
      cross.hidden = false;
      cross.style.left = `${100 * x}%`;
      cross.style.top = `${100 * y}%`;
      const rows = [0, 1, 2].filter((rank) => rank < this.names.length).map((rank) => {
        return this.row(data[at + rank], data[below + rank] / 255);
      });
      this.querySelector(".dl-readout").replaceChildren(...rows);
    }

    row(label, share) {
      const row = document.createElement("div");
      const part = (name, text) => {
        const span = document.createElement("span");
        span.className = name;
        span.textContent = text;
        row.append(span);
        return span;
      };
      row.className = "dl-probability";
      part("dl-swatch", "").style.background = `rgb(${this.colors[label]})`;
      part("dl-name", this.names[label]);
      const bar = part("dl-bar", "");
      bar.style.setProperty("--share", share);
      part("dl-share", `${Math.round(100 * share)} %`);
      return row;
    }
  }

  customElements.define("deeplab-view", DeepLabView);
})();
