/**
 * From a picture to its label map, as the Segmenter of deeplab_lightning/segmentation does it: normalisation, the network
 * by onnxruntime-web, probabilities, and label maps as files.
 *
 * Letters: K labels, H and W the sides of the picture, h and w those at which it is segmented. Pictures are RGBA, as a
 * canvas gives them. A classic script, so that a page can hold it inline and a worker can be made of its text; it defines
 * `segmentation`, and node's `require` returns the same object.
 */
"use strict";

const segmentation = (() => {
  /** Number of probabilities, pixels times labels, up to which a picture is segmented at its own size: 256 MiB. */
  const LARGEST_SCORES = 2 ** 26;
  const round = Math.fround;

  /** Return the bytes of a text in base64 that was compressed by gzip. */
  async function unpacked(text) {
    const STEP = 2 ** 20; // a multiple of 4 characters, which stand for 3 bytes
    const bytes = new Uint8Array(3 * Math.ceil(text.length / 4));
    let length = 0;
    for (let start = 0; start < text.length; start += STEP) {
      const part = atob(text.slice(start, start + STEP));
      for (let i = 0; i < part.length; i++) bytes[length++] = part.charCodeAt(i);
    }
    const stream = new Blob([bytes.subarray(0, length)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /**
   * Open the network.
   *
   * @param {object} ort The module onnxruntime-web.
   * @param {Uint8Array} wasm Its program.
   * @param {Uint8Array} model The ONNX file.
   */
  function openNetwork(ort, wasm, model) {
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm.buffer });
    ort.env.logLevel = "error";
    return ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  }

  /**
   * Return the network's probabilities (K, h, w) of a picture.
   *
   * @param {object} ort The module onnxruntime-web.
   * @param {object} session What `openNetwork` returns.
   * @param {Uint8ClampedArray} image The picture (h, w, 4).
   * @param {number} height h.
   * @param {number} width w.
   * @param {object} model The facts about the model.
   */
  async function probabilitiesOf(ort, session, image, height, width, model) {
    const input = networkInput(image, height, width, model);
    const images = new ort.Tensor("float32", input.values, [1, 3, input.height, input.width]);
    const { logits } = await session.run({ [session.inputNames[0]]: images }, ["logits"]);
    return softmax(logits.data, model.classNames.length, input, height, width);
  }

  /** Normalise a picture (h, w, 4) to (3, h, w), padded with zeros at the right and the bottom as the model's images are. */
  function networkInput(image, height, width, { factor, offset, isReversed, padTo }) {
    const isPadded = padTo && padTo[0] >= height && padTo[1] >= width;
    const [fullHeight, fullWidth] = isPadded ? padTo : [height, width];
    const values = new Float32Array(3 * fullHeight * fullWidth);
    for (let channel = 0; channel < 3; channel++) {
      const [from, scale, shift] = [isReversed ? 2 - channel : channel, factor[channel], offset[channel]];
      for (let y = 0; y < height; y++) {
        let to = (channel * fullHeight + y) * fullWidth;
        for (let at = 4 * y * width + from, end = at + 4 * width; at < end; at += 4) {
          values[to++] = round(image[at] * scale) + shift;
        }
      }
    }
    return { values, height: fullHeight, width: fullWidth };
  }

  /** Return the softmax (K, h, w) of the upper left part of logits (K, padded height, padded width). */
  function softmax(logits, numLabels, padded, height, width) {
    const [plane, numPixels] = [padded.height * padded.width, height * width];
    const probabilities = new Float32Array(numLabels * numPixels);
    for (let y = 0, pixel = 0; y < height; y++) {
      for (let x = 0, at = y * padded.width; x < width; x++, at++, pixel++) {
        let highest = -Infinity;
        for (let k = 0; k < numLabels; k++) highest = Math.max(highest, logits[k * plane + at]);
        let sum = 0;
        for (let k = 0; k < numLabels; k++) {
          sum += probabilities[k * numPixels + pixel] = Math.exp(logits[k * plane + at] - highest);
        }
        for (let k = 0; k < numLabels; k++) probabilities[k * numPixels + pixel] /= sum;
      }
    }
    return probabilities;
  }

  /** Return the labels (H, W) of the largest probabilities (K, H, W). */
  function labelsOf(probabilities, numPixels) {
    const labels = new Uint8Array(numPixels);
    const largest = probabilities.slice(0, numPixels);
    for (let start = numPixels, label = 1; start < probabilities.length; start += numPixels, label++) {
      for (let pixel = 0; pixel < numPixels; pixel++) {
        const value = probabilities[start + pixel];
        if (value > largest[pixel]) [largest[pixel], labels[pixel]] = [value, label];
      }
    }
    return labels;
  }

  /** Return the sides [h, w] at which a picture of the sides [H, W] is segmented if its longest side is limited. */
  function reducedSize([height, width], longest, numLabels) {
    const factor = Math.min(longest / Math.max(height, width), (LARGEST_SCORES / numLabels / (height * width)) ** 0.5);
    return factor >= 1 ? [height, width] : [height, width].map((side) => Math.max(1, Math.floor(side * factor + 1e-6)));
  }

  /** Return the sources of each of `count` positions on a reduced side: the first one and the weights of a triangle. */
  function triangles(side, count) {
    const scale = side / count;
    const reach = Math.max(scale, 1);
    return Array.from({ length: count }, (_, to) => {
      const centre = scale * (to + 0.5);
      const first = Math.max(0, Math.trunc(centre - reach + 0.5));
      const end = Math.min(side, Math.trunc(centre + reach + 0.5));
      const weights = Array.from({ length: end - first }, (__, i) =>
        Math.max(0, 1 - Math.abs((first + i - centre + 0.5) / reach)),
      );
      const sum = weights.reduce((a, b) => a + b);
      return { first, weights: weights.map((weight) => weight / sum) };
    });
  }

  /** Return a picture [H, W] at a smaller size [h, w], by a triangle as wide as the factor, like torch's antialiasing. */
  function reduced(image, [height, width], [newHeight, newWidth]) {
    const rows = new Float32Array(height * newWidth * 4);
    triangles(width, newWidth).forEach(({ first, weights }, x) => {
      for (let y = 0; y < height; y++) {
        for (let channel = 0; channel < 4; channel++) {
          let sum = 0;
          for (let i = 0; i < weights.length; i++) sum += weights[i] * image[4 * (y * width + first + i) + channel];
          rows[4 * (y * newWidth + x) + channel] = sum;
        }
      }
    });
    const small = new Uint8ClampedArray(newHeight * newWidth * 4); // which rounds halves to even ones, like torch
    triangles(height, newHeight).forEach(({ first, weights }, y) => {
      for (let at = 0; at < 4 * newWidth; at++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * rows[4 * (first + i) * newWidth + at];
        small[4 * y * newWidth + at] = sum;
      }
    });
    return small;
  }

  /** Return the two sources of each of `count` positions on an enlarged side, and the weight of the second. */
  function pairs(side, count) {
    return Array.from({ length: count }, (_, to) => {
      const place = Math.max(0, (side / count) * (to + 0.5) - 0.5);
      const first = Math.min(Math.floor(place), side - 1);
      return [first, Math.min(first + 1, side - 1), place - first];
    });
  }

  /**
   * Return the label map at a larger size: the label of the largest interpolated probability, of the labels in the small
   * one.
   *
   * @param {Float32Array} probabilities Probabilities (K, h, w).
   * @param {Uint8Array} labels Their label map (h, w).
   * @param {number[]} from [h, w].
   * @param {number[]} to [H, W].
   */
  function enlarged(probabilities, labels, from, to) {
    if (from[0] === to[0] && from[1] === to[1]) return labels;
    const present = [...new Set(labels)].sort((a, b) => a - b);
    const [numPixels, columns, map] = [from[0] * from[1], pairs(from[1], to[1]), new Uint8Array(to[0] * to[1])];
    const largest = new Float32Array(to[1]);
    pairs(from[0], to[0]).forEach(([above, below, down], y) => {
      largest.fill(-1);
      for (const label of present) {
        const [upper, lower] = [above, below].map((row) => label * numPixels + row * from[1]);
        for (let x = 0; x < to[1]; x++) {
          const [left, right, across] = columns[x];
          const top = probabilities[upper + left] * (1 - across) + probabilities[upper + right] * across;
          const bottom = probabilities[lower + left] * (1 - across) + probabilities[lower + right] * across;
          const share = round(top * (1 - down) + bottom * down);
          if (share > largest[x]) [largest[x], map[y * to[1] + x]] = [share, label];
        }
      }
    });
    return map;
  }

  /** Return a label map (H, W) as a palette PNG, whose values are the labels; `colors` are those of all 256 values. */
  async function palettePNG(labels, [height, width], colors) {
    const rows = new Uint8Array(height * (width + 1)); // each row begins with the number of its filter: none
    for (let y = 0; y < height; y++) rows.set(labels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
    const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
    const header = new DataView(new ArrayBuffer(13));
    header.setUint32(0, width);
    header.setUint32(4, height);
    header.setUint16(8, 0x0803); // 8 bits, palette
    const parts = {
      IHDR: new Uint8Array(header.buffer),
      PLTE: Uint8Array.from(colors.flat()),
      IDAT: new Uint8Array(await new Response(stream).arrayBuffer()),
      IEND: new Uint8Array(0),
    };
    const chunks = Object.entries(parts).map(([name, data]) => chunk(name, data));
    return new Blob([Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), ...chunks], { type: "image/png" });
  }

  const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });

  /** Return a chunk of a PNG: length, name, data and check sum. */
  function chunk(name, data) {
    const bytes = new Uint8Array(data.length + 12);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, data.length);
    for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
    bytes.set(data, 8);
    let sum = 0xffffffff;
    for (let i = 4; i < bytes.length - 4; i++) sum = CRC[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
    view.setUint32(bytes.length - 4, ~sum);
    return bytes;
  }

  return Object.freeze({
    unpacked,
    openNetwork,
    probabilitiesOf,
    labelsOf,
    reducedSize,
    reduced,
    enlarged,
    palettePNG,
  });
})();

if (typeof module !== "undefined") module.exports = segmentation;
