#!/usr/bin/env node
// Checks that a webhook comes from your Sluicegate and that nobody changed it.
//
// Copy `verify` into your receiver and give it the body as it arrived, as a Buffer, before anything parses it. `keys` are
// texts: `whsec_...` is a secret that Sluicegate has too, `whpk_...` a public key.
//
// To try it: node verify.js ID TIMESTAMP SIGNATURES KEY... < body
"use strict";

const crypto = require("node:crypto");

const TOLERANCE = 5 * 60;
// What stands before the 32 bytes of an Ed25519 public key in DER.
const ED25519 = Buffer.from("302a300506032b6570032100", "hex");

/** Returns null if any of `keys` made any of `signatures`; else says why not. */
function verify(keys, id, timestamp, signatures, body, now = Date.now() / 1000) {
  if (!/^[0-9]+$/.test(timestamp) || Math.abs(now - Number(timestamp)) > TOLERANCE) {
    return "sent at another time: replayed, or a clock is wrong";
  }
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const fits = signatures.split(" ").some((text) => {
    const [version, encoded = ""] = text.split(",");
    const signature = Buffer.from(encoded, "base64");
    return keys.some((key) => madeBy(key, version, signature, signed));
  });
  return fits ? null : "no signature fits";
}

function madeBy(key, version, signature, signed) {
  const [kind, encoded] = key.split("_");
  const raw = Buffer.from(encoded, "base64");
  if (kind === "whsec" && version === "v1") {
    const expected = crypto.createHmac("sha256", raw).update(signed).digest();
    return expected.length === signature.length && crypto.timingSafeEqual(expected, signature);
  }
  if (kind === "whpk" && version === "v1a") {
    const spki = crypto.createPublicKey({ key: Buffer.concat([ED25519, raw]), format: "der", type: "spki" });
    return crypto.verify(null, signed, spki, signature);
  }
  return false;
}

module.exports = { verify };

if (require.main === module) {
  const [id, timestamp, signatures, ...keys] = process.argv.slice(2);
  const why = verify(keys, id, timestamp, signatures, require("node:fs").readFileSync(0));
  if (why !== null) {
    console.error(`refused: ${why}`);
    process.exit(1);
  }
  console.log("genuine");
}
