/**
 * The dense CRF of DeepLab v1 and v2 (Kraehenbuehl and Koltun, NIPS 2011) in plain JavaScript, for pages and for node.
 *
 * It mirrors deeplab_lightning/crf, with its settings and its arithmetic: lattice.py explains the permutohedral lattice
 * (Adams, Baek and Davis, 2010), mean_field.py the updates. Letters: P pixels, d features of a pixel, M lattice points,
 * K labels. A classic script, so that a page can hold it inline and a worker can be made of its text; it defines
 * `denseCRF`, and node's `require` returns the same object.
 */
"use strict";

const denseCRF = (() => {
  /** The settings of CRFSettings in crf/settings.py, and `min_probability` of DenseCRF, with their defaults. */
  const DEFAULTS = Object.freeze({
    bilateral_weight: 4.0,
    bilateral_xy: 67.0,
    bilateral_rgb: 3.0,
    gaussian_weight: 3.0,
    gaussian_xy: 1.0,
    iterations: 10,
    normalization: "after",
    min_probability: 0.0,
  });
  /** The value that replaces a probability of 0: the least normal number of float32. */
  const LEAST_PROBABILITY = 2 ** -126;
  const EMPTY = -1;
  const round = Math.fround;

  /**
   * Refine the probabilities of one image.
   *
   * @param {object} options
   * @param {Uint8Array|Uint8ClampedArray} options.image Colours of 8 bits, pixel by pixel, row by row.
   * @param {number} [options.pixelStride=3] Values per pixel in `image`: 3, or 4 for the data of a canvas, whose alpha is
   *   not read.
   * @param {Float32Array} options.probabilities Probabilities (K, H, W), which sum to 1 over K.
   * @param {number} options.height H.
   * @param {number} options.width W.
   * @param {object} [options.settings] Settings in place of those of DEFAULTS.
   * @param {function(number): void} [options.onProgress] It is called with the share of the work that is done.
   * @returns {Float32Array} Refined probabilities (K, H, W).
   */
  function refine({ onProgress = () => {}, ...options }) {
    const work = refineInSteps(options);
    for (;;) {
      const { done, value } = work.next();
      if (done) return value;
      onProgress(value);
    }
  }

  /**
   * Do the work of `refine` in steps, between which a page may draw, or stop.
   *
   * @param {object} options The options of `refine`, without `onProgress`.
   * @yields {number} The share of the work that is done.
   * @returns {Float32Array} Refined probabilities (K, H, W).
   */
  function* refineInSteps({ image, pixelStride = 3, probabilities, height, width, settings = {} }) {
    const crf = check({ image, pixelStride, probabilities, height, width, settings });
    const numPixels = height * width;
    const kept = keptLabels(probabilities, numPixels, crf.min_probability);
    const unary = rowsOfLogarithms(probabilities, numPixels, kept);
    const current = new Float32Array(unary.length);
    softmax(unary, kept.length, current);
    // Building a kernel takes about as long as two updates.
    const total = crf.iterations + 4;
    const kernels = [];
    if (crf.gaussian_weight > 0) {
      kernels.push(new Kernel(places(height, width, crf.gaussian_xy), 2, crf.normalization, crf.gaussian_weight));
    }
    yield 2 / total;
    if (crf.bilateral_weight > 0) {
      const features = placesAndColours(image, pixelStride, height, width, crf);
      kernels.push(new Kernel(features, 5, crf.normalization, crf.bilateral_weight));
    }
    yield 4 / total;
    const logits = new Float32Array(unary.length);
    for (let iteration = 1; iteration <= crf.iterations; iteration++) {
      logits.set(unary);
      // With Potts compatibility, the message of a label itself is all that remains of its energy.
      for (const kernel of kernels) kernel.addMessage(current, kept.length, logits);
      softmax(logits, kept.length, current);
      yield (4 + iteration) / total;
    }
    return mapsOfRows(current, numPixels, kept, probabilities.length);
  }

  /** Refuse what cannot be refined, and return all settings. */
  function check({ image, pixelStride, probabilities, height, width, settings }) {
    const unknown = Object.keys(settings).filter((name) => !(name in DEFAULTS));
    if (unknown.length) throw new RangeError(`the CRF has no setting ${unknown[0]}`);
    const crf = { ...DEFAULTS, ...settings };
    for (const name of ["bilateral_xy", "bilateral_rgb", "gaussian_xy"]) {
      if (!(crf[name] > 0)) throw new RangeError(`${name} must be positive, got ${crf[name]}`);
    }
    for (const name of ["bilateral_weight", "gaussian_weight"]) {
      if (!(crf[name] >= 0)) throw new RangeError(`${name} must be at least 0, got ${crf[name]}`);
    }
    if (!(Number.isInteger(crf.iterations) && crf.iterations >= 1)) {
      throw new RangeError(`iterations must be a number of at least 1, got ${crf.iterations}`);
    }
    if (!["after", "symmetric"].includes(crf.normalization)) {
      throw new RangeError(`normalization must be "after" or "symmetric", got ${crf.normalization}`);
    }
    const numPixels = height * width;
    const fits = numPixels > 0 && pixelStride >= 3 && image.length === numPixels * pixelStride;
    if (!fits || probabilities.length === 0 || probabilities.length % numPixels !== 0) {
      throw new RangeError(
        `an image of ${image.length} values, ${pixelStride} per pixel, and ${probabilities.length} probabilities do ` +
          `not fit ${height}x${width} pixels`,
      );
    }
    return crf;
  }

  /** Return the labels that reach a probability in any pixel. */
  function keptLabels(probabilities, numPixels, least) {
    const kept = [];
    for (let label = 0; label * numPixels < probabilities.length; label++) {
      const map = probabilities.subarray(label * numPixels, (label + 1) * numPixels);
      if (least === 0 || map.some((value) => value >= least)) kept.push(label);
    }
    if (!kept.length) throw new RangeError(`no label reaches min_probability ${least} in any pixel`);
    return kept;
  }

  /** Return the logarithms (P, K) of the kept labels. */
  function rowsOfLogarithms(probabilities, numPixels, kept) {
    const rows = new Float32Array(numPixels * kept.length);
    kept.forEach((label, column) => {
      for (let pixel = 0; pixel < numPixels; pixel++) {
        const value = Math.min(1, Math.max(LEAST_PROBABILITY, probabilities[label * numPixels + pixel]));
        rows[pixel * kept.length + column] = Math.log(value);
      }
    });
    return rows;
  }

  /** Return maps (K, H, W) of rows (P, kept labels); the other labels have probability 0. */
  function mapsOfRows(rows, numPixels, kept, length) {
    const maps = new Float32Array(length);
    kept.forEach((label, column) => {
      for (let pixel = 0; pixel < numPixels; pixel++) {
        maps[label * numPixels + pixel] = rows[pixel * kept.length + column];
      }
    });
    return maps;
  }

  /** Write the softmax of each row of logits (P, K) into `result`. */
  function softmax(logits, numLabels, result) {
    for (let start = 0; start < logits.length; start += numLabels) {
      let highest = -Infinity;
      for (let i = start; i < start + numLabels; i++) if (logits[i] > highest) highest = logits[i];
      let sum = 0;
      for (let i = start; i < start + numLabels; i++) sum += result[i] = Math.exp(logits[i] - highest);
      for (let i = start; i < start + numLabels; i++) result[i] /= sum;
    }
  }

  /** Return the positions (x, y) of all pixels over their range: (P, 2). */
  function places(height, width, xy) {
    const features = new Float32Array(height * width * 2);
    for (let pixel = 0; pixel < height * width; pixel++) {
      features[2 * pixel] = (pixel % width) / xy;
      features[2 * pixel + 1] = Math.floor(pixel / width) / xy;
    }
    return features;
  }

  /** Return positions and colours of all pixels over their ranges: (P, 5). */
  function placesAndColours(image, pixelStride, height, width, { bilateral_xy, bilateral_rgb }) {
    const features = new Float32Array(height * width * 5);
    const near = places(height, width, bilateral_xy);
    for (let pixel = 0; pixel < height * width; pixel++) {
      features[5 * pixel] = near[2 * pixel];
      features[5 * pixel + 1] = near[2 * pixel + 1];
      for (let channel = 0; channel < 3; channel++) {
        features[5 * pixel + 2 + channel] = image[pixelStride * pixel + channel] / bilateral_rgb;
      }
    }
    return features;
  }

  /** A normalised Gaussian filter over all pixels, with its weight in the energy. */
  class Kernel {
    /**
     * @param {Float32Array} features Features (P, d), each divided by its range.
     * @param {number} dim d.
     * @param {string} normalization "after" or "symmetric".
     * @param {number} weight The kernel's weight.
     */
    constructor(features, dim, normalization, weight) {
      this.lattice = new Lattice(features, dim);
      const numPixels = features.length / dim;
      const sums = new Float32Array(numPixels);
      const ones = new Float32Array(numPixels).fill(1);
      this.lattice.filter(ones, 1, ones, ones, sums);
      const scale = sums.map((sum) => weight / (sum + 1e-20));
      this.after = normalization === "after" ? scale : scale.map(Math.sqrt);
      this.before = normalization === "after" ? ones : this.after;
    }

    /** Add the message (P, K) of probabilities (P, K) to `result`. */
    addMessage(probabilities, numLabels, result) {
      this.lattice.filter(probabilities, numLabels, this.before, this.after, result);
    }
  }

  /** The permutohedral lattice over points: `corners` (P, d + 1) with their `weights`, and `neighbours` (d + 1, M, 2). */
  class Lattice {
    constructor(features, dim) {
      const numPoints = features.length / dim;
      this.dim = dim;
      this.corners = new Int32Array(numPoints * (dim + 1));
      this.weights = new Float32Array(numPoints * (dim + 1));
      const points = new Points(numPoints * (dim + 1), dim);
      const simplex = new Simplex(dim);
      const key = new Int32Array(dim);
      for (let point = 0; point < numPoints; point++) {
        simplex.enclose(features, point * dim);
        for (let corner = 0; corner <= dim; corner++) {
          simplex.readCorner(corner, key);
          this.corners[point * (dim + 1) + corner] = points.add(key);
          this.weights[point * (dim + 1) + corner] = simplex.weights[corner];
        }
      }
      this.numPoints = points.count;
      this.neighbours = points.neighbours();
    }

    /**
     * Add filtered values to `result`: `after * K (before * values)`, pixel by pixel.
     *
     * Row M of the tables is that of all lattice points that are not in use; its values are 0.
     */
    filter(values, numChannels, before, after, result) {
      const size = (this.numPoints + 1) * numChannels;
      let [table, blurred] = [new Float32Array(size), new Float32Array(size)];
      this.splat(values, numChannels, before, table);
      for (let axis = 0; axis <= this.dim; axis++) {
        this.blur(table, numChannels, axis, blurred);
        [table, blurred] = [blurred, table];
      }
      this.slice(table, numChannels, after, result);
    }

    splat(values, numChannels, before, table) {
      const { corners, weights, dim } = this;
      for (let pixel = 0, i = 0; pixel < before.length; pixel++) {
        const from = pixel * numChannels;
        for (const end = i + dim + 1; i < end; i++) {
          const weight = weights[i] * before[pixel];
          const to = corners[i] * numChannels;
          for (let k = 0; k < numChannels; k++) table[to + k] += weight * values[from + k];
        }
      }
    }

    /** Write `(1/2, 1, 1/2)` of a table along an axis into `blurred`. */
    blur(table, numChannels, axis, blurred) {
      const { neighbours, numPoints } = this;
      const start = 2 * axis * numPoints;
      for (let point = 0; point < numPoints; point++) {
        const own = point * numChannels;
        const next = neighbours[start + 2 * point] * numChannels;
        const last = neighbours[start + 2 * point + 1] * numChannels;
        for (let k = 0; k < numChannels; k++) {
          blurred[own + k] = table[own + k] + 0.5 * (table[next + k] + table[last + k]);
        }
      }
    }

    slice(table, numChannels, after, result) {
      const { corners, weights, dim } = this;
      for (let pixel = 0, i = 0; pixel < after.length; pixel++) {
        const to = pixel * numChannels;
        for (const end = i + dim + 1; i < end; i++) {
          const weight = weights[i] * after[pixel];
          const from = corners[i] * numChannels;
          for (let k = 0; k < numChannels; k++) result[to + k] += weight * table[from + k];
        }
      }
    }
  }

  /** The simplex around one point after another, computed in float32 like in lattice.py, so that no corner differs. */
  class Simplex {
    constructor(dim) {
      this.dim = dim;
      this.elevated = new Float32Array(dim + 1);
      this.corner = new Int32Array(dim + 1); // in units of d + 1
      this.rank = new Int32Array(dim + 1);
      this.offset = new Float32Array(dim + 1);
      this.weights = new Float32Array(dim + 1);
      this.scales = Float32Array.from({ length: dim + 1 }, (_, axis) =>
        axis ? ((2 / 3) ** 0.5 * (dim + 1)) / (axis * (axis + 1)) ** 0.5 : 0,
      );
      // The blur returns 1 + 2^-d of a value; splatting and slicing each divide by the square root of it.
      this.scale = round((1 + 2 ** -dim) ** 0.5);
    }

    /** Find the simplex around the point whose features begin at `start`. */
    enclose(features, start) {
      const { dim, elevated, corner, rank, offset, weights } = this;
      let total = 0;
      for (let axis = dim; axis > 0; axis--) {
        const feature = round(features[start + axis - 1] * this.scales[axis]);
        elevated[axis] = total - round(axis * feature);
        total = round(total + feature);
      }
      elevated[0] = total;
      let excess = 0;
      for (let axis = 0; axis <= dim; axis++) {
        corner[axis] = roundToEven(round(elevated[axis] / (dim + 1)));
        offset[axis] = elevated[axis] - corner[axis] * (dim + 1);
        excess += corner[axis];
      }
      rank.fill(excess);
      for (let axis = 0; axis < dim; axis++) {
        for (let other = axis + 1; other <= dim; other++) rank[offset[axis] < offset[other] ? axis : other]++;
      }
      for (let axis = 0; axis <= dim; axis++) {
        const wrapped = rank[axis] < 0 ? 1 : rank[axis] > dim ? -1 : 0;
        rank[axis] += wrapped * (dim + 1);
        corner[axis] += wrapped;
      }
      for (let axis = 0; axis <= dim; axis++) {
        offset[rank[axis]] = round(elevated[axis] - corner[axis] * (dim + 1)) / (dim + 1);
      }
      weights[0] = round(1 + offset[dim]) - offset[0];
      for (let each = 1; each <= dim; each++) weights[each] = offset[dim - each] - offset[dim - each + 1];
      for (let each = 0; each <= dim; each++) weights[each] /= this.scale;
    }

    /** Write the coordinates of a corner into `key`, without the last one, which follows from the others. */
    readCorner(which, key) {
      const { dim, corner, rank } = this;
      for (let axis = 0; axis < dim; axis++) {
        key[axis] = (corner[axis] - (rank[axis] > dim - which ? 1 : 0)) * (dim + 1) + which;
      }
    }
  }

  /** The lattice points in use, by a hash table with open addressing. */
  class Points {
    constructor(most, dim) {
      this.dim = dim;
      this.count = 0;
      this.keys = new Int32Array(most * dim);
      this.mask = 2 ** Math.ceil(Math.log2(2 * most + 1)) - 1;
      this.slots = new Int32Array(this.mask + 1).fill(EMPTY);
    }

    /** Return the slot that holds a key, or the empty one where it belongs. */
    find(key) {
      const { dim, keys, slots, mask } = this;
      let hash = 0;
      for (let axis = 0; axis < dim; axis++) hash = Math.imul(hash + key[axis], 0x9e3779b1);
      let slot = (hash ^ (hash >>> 15)) & mask;
      search: for (; slots[slot] !== EMPTY; slot = (slot + 1) & mask) {
        for (let axis = 0; axis < dim; axis++) if (keys[slots[slot] * dim + axis] !== key[axis]) continue search;
        break;
      }
      return slot;
    }

    /** Return the number of a lattice point, which is new if it was not in use. */
    add(key) {
      const slot = this.find(key);
      if (this.slots[slot] === EMPTY) {
        this.keys.set(key, this.count * this.dim);
        this.slots[slot] = this.count++;
      }
      return this.slots[slot];
    }

    /** Return the numbers of the next and the last point of each on each axis, (d + 1, M, 2); M stands for none. */
    neighbours() {
      const { dim, count, keys } = this;
      const neighbours = new Int32Array((dim + 1) * count * 2).fill(count);
      const key = new Int32Array(dim);
      for (let axis = 0; axis <= dim; axis++) {
        for (let point = 0; point < count; point++) {
          for (let each = 0; each < dim; each++) key[each] = keys[point * dim + each] - 1;
          if (axis < dim) key[axis] += dim + 1;
          const next = this.slots[this.find(key)];
          if (next === EMPTY) continue;
          neighbours[2 * (axis * count + point)] = next;
          neighbours[2 * (axis * count + next) + 1] = point;
        }
      }
      return neighbours;
    }
  }

  /** Round to the nearest integer, and halves to even ones, like torch and numpy. */
  function roundToEven(value) {
    const nearest = Math.round(value);
    return nearest - value === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
  }

  return Object.freeze({ DEFAULTS, refine, refineInSteps });
})();

if (typeof module !== "undefined") module.exports = denseCRF;
