// Exponents by another implementation: node derive_exponents.mjs PACKAGE < [{"n": hex, "info": hex}, ...]
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const load = (path) => import(pathToFileURL(resolve(join(process.argv[2], "lib", "src", path))).href);
const { RSAPBSSA } = await load("index.js");
const { default: sjcl } = await load("sjcl/index.js");

const suite = RSAPBSSA.SHA384.PSS.Randomized();
const exponents = [];
for (const { n, info } of JSON.parse(readFileSync(0, "utf8"))) {
  const modulus = sjcl.bn.fromBits(sjcl.codec.hex.toBits(n));
  const { e } = await suite.derivePublicKey({ n: modulus }, Uint8Array.from(Buffer.from(info, "hex")));
  exponents.push(sjcl.codec.hex.fromBits(e.toBits()));
}
process.stdout.write(JSON.stringify(exponents));
