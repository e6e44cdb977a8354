// node refine.cjs SCRIPT CASES: refines each case of a JSON file and writes the results beside its inputs.
"use strict";
const { readFileSync, writeFileSync } = require("node:fs");

const [script, list] = process.argv.slice(2);
const crf = require(script);
const floats = (path) => new Float32Array(Uint8Array.from(readFileSync(path)).buffer);
const said = JSON.parse(readFileSync(list, "utf8")).map(({ file, ...options }) => {
  const shares = [];
  try {
    const refined = crf.refine({
      ...options,
      image: new Uint8ClampedArray(readFileSync(`${file}.image`)),
      probabilities: floats(`${file}.probabilities`),
      onProgress: (share) => shares.push(share),
    });
    writeFileSync(`${file}.refined`, new Uint8Array(refined.buffer));
    return { shares };
  } catch (error) {
    return { error: error.message };
  }
});
console.log(JSON.stringify({ defaults: crf.DEFAULTS, said }));
