// node segment.cjs CASES FOLDER: segments pictures by the scripts and the parts inside pages, as their workers do.
"use strict";
const { readFileSync, writeFileSync } = require("node:fs");
const { runInThisContext } = require("node:vm");

const [list, folder] = process.argv.slice(2);
const partOf = (page, id) => page.match(new RegExp(`<script[^>]* id="${id}">([^]*?)</script>`))[1];

async function open(path) {
  const page = readFileSync(path, "utf8");
  const scripts = ["dense_crf", "segmentation"].map((id) => partOf(page, id)).join("\n");
  const { segmentation, denseCRF } = runInThisContext(`(() => {${scripts}\nreturn { segmentation, denseCRF };})()`);
  const [runtime, wasm, graph] = await Promise.all(
    ["runtime", "wasm", "graph"].map((id) => segmentation.unpacked(partOf(page, id))),
  );
  writeFileSync(`${folder}/runtime.mjs`, runtime);
  const ort = await import(`${folder}/runtime.mjs`);
  const session = await segmentation.openNetwork(ort, wasm, graph);
  return { segmentation, denseCRF, ort, session, ...JSON.parse(partOf(page, "facts")) };
}

async function segment(page, { file, size, longest, settings }) {
  const { segmentation, denseCRF, ort, session, model, colors } = page;
  let image = new Uint8ClampedArray(readFileSync(`${file}.image`));
  const [height, width] = segmentation.reducedSize(size, longest, model.classNames.length);
  if (height < size[0]) image = segmentation.reduced(image, size, [height, width]);
  let probabilities = await segmentation.probabilitiesOf(ort, session, image, height, width, model);
  if (settings) probabilities = denseCRF.refine({ image, pixelStride: 4, probabilities, height, width, settings });
  const small = segmentation.labelsOf(probabilities, height * width);
  const labels = segmentation.enlarged(probabilities, small, [height, width], size);
  const png = await segmentation.palettePNG(labels, size, colors);
  writeFileSync(`${file}.probabilities`, new Uint8Array(probabilities.buffer));
  writeFileSync(`${file}.png`, new Uint8Array(await png.arrayBuffer()));
}

(async () => {
  const pages = {};
  for (const { page, ...options } of JSON.parse(readFileSync(list, "utf8"))) {
    await segment((pages[page] ??= await open(page)), options);
  }
})();
