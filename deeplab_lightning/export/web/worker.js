/**
 * The worker of the page: the network and the CRF, away from the thread that draws.
 *
 * Its text follows those of dense_crf.js and segmentation.js. The page sends the parts of the file first, then wishes; a
 * newer wish ends the work on an older one at its next step. The answers are progress, results and sentences.
 */
"use strict";

let opening = null; // of the network: a promise of {ort, session, model}
let picture = null; // {pixels, size}, as the page sent it
let known = null; // the network's answer to the picture: {picture, longest, image, size, probabilities, seconds}
let newest = 0; // the number of the newest wish
let work = Promise.resolve(); // what is being done, so that one wish follows another

const pause = () => new Promise((resume) => setTimeout(resume)); // for the messages that have come meanwhile
const seconds = (start) => (performance.now() - start) / 1000;

async function open({ runtime, wasm, graph, model }) {
  const script = new Blob([await segmentation.unpacked(runtime)], { type: "text/javascript" });
  const ort = await import(URL.createObjectURL(script));
  const parts = await Promise.all([wasm, graph].map(segmentation.unpacked));
  return { ort, model, session: await segmentation.openNetwork(ort, ...parts) };
}

/** Let the network answer the picture. */
async function ask(wish) {
  const asked = picture;
  const { ort, session, model } = await opening;
  const start = performance.now();
  postMessage({ kind: "progress", number: wish.number, stage: "network" });
  const size = segmentation.reducedSize(asked.size, wish.longest, model.classNames.length);
  const isSmaller = size[0] < asked.size[0] || size[1] < asked.size[1];
  const image = isSmaller ? segmentation.reduced(asked.pixels, asked.size, size) : asked.pixels;
  const probabilities = await segmentation.probabilitiesOf(ort, session, image, ...size, model);
  known = { picture: asked, longest: wish.longest, image, size, probabilities, seconds: seconds(start) };
}

/** Refine the network's answer; undefined if a newer wish has come. */
async function refine(wish) {
  const { image, size, probabilities } = known;
  const [height, width] = size;
  const steps = denseCRF.refineInSteps({ image, pixelStride: 4, probabilities, height, width, settings: wish.crf });
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    postMessage({ kind: "progress", number: wish.number, stage: "crf", share: value });
    await pause();
    if (wish.number !== newest) return undefined;
  }
}

async function answer(wish) {
  if (wish.number !== newest) return;
  if (known === null || known.picture !== picture || known.longest !== wish.longest) await ask(wish);
  await pause();
  if (wish.number !== newest) return;
  const start = performance.now();
  const refined = wish.crf ? await refine(wish) : known.probabilities.slice();
  if (refined === undefined) return;
  const time = { network: known.seconds, crf: wish.crf ? seconds(start) : null };
  const small = segmentation.labelsOf(refined, known.size[0] * known.size[1]);
  const labels = segmentation.enlarged(refined, small, known.size, picture.size);
  const result = { size: picture.size, labels, smallSize: known.size, probabilities: refined, seconds: time };
  postMessage({ kind: "result", number: wish.number, ...result }, [labels.buffer, refined.buffer]);
}

onmessage = ({ data }) => {
  if (data.kind === "open") {
    opening = open(data);
    opening.catch(() => {}); // the first wish tells it
    return;
  }
  newest = data.number;
  if (data.picture) picture = data.picture;
  work = work.then(() => answer(data)).catch((error) => {
    postMessage({ kind: "failed", number: data.number, sentence: String(error?.message ?? error) });
  });
};
