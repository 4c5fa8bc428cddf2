// SHA-256 (FIPS 180-4) of a file of any size, read piece by piece, beside the page: a digest is a file's name,
// and the browser's own function takes a whole file at once.
"use strict";
const K = new Uint32Array(64);
const START = new Uint32Array(8);
(() => {
  // The first 32 bits of the fractions of the cube and square roots of the first primes.
  const fraction = (root) => ((root - Math.floor(root)) * 4294967296) >>> 0;
  let found = 0;
  for (let n = 2; found < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) { prime = false; break; }
    if (!prime) continue;
    if (found < 8) START[found] = fraction(Math.sqrt(n));
    K[found++] = fraction(Math.cbrt(n));
  }
})();

const W = new Uint32Array(64);
// Whole blocks of `bytes`, from `at` up to `end`, into the state.
const blocks = (H, bytes, at, end) => {
  for (; at < end; at += 64) {
    for (let i = 0, j = at; i < 16; i++, j += 4) {
      W[i] = (bytes[j] << 24) | (bytes[j + 1] << 16) | (bytes[j + 2] << 8) | bytes[j + 3];
    }
    for (let i = 16; i < 64; i++) {
      const x = W[i - 15], y = W[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      W[i] = (W[i - 16] + s0 + W[i - 7] + s1) | 0;
    }
    let a = H[0] | 0, b = H[1] | 0, c = H[2] | 0, d = H[3] | 0, e = H[4] | 0, f = H[5] | 0, g = H[6] | 0, h = H[7] | 0;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + W[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    H[0] += a; H[1] += b; H[2] += c; H[3] += d; H[4] += e; H[5] += f; H[6] += g; H[7] += h;
  }
};

const PIECE = 4 * 1024 * 1024; // a multiple of a block
const digest = async (file, tell) => {
  const H = START.slice();
  for (let at = 0; ; at += PIECE) {
    const piece = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
    const whole = piece.length - (piece.length % 64);
    blocks(H, piece, 0, whole);
    tell(at + piece.length);
    if (at + piece.length < file.size) continue;
    const rest = piece.subarray(whole);
    const last = new Uint8Array(rest.length < 56 ? 64 : 128);
    last.set(rest);
    last[rest.length] = 0x80;
    const length = new DataView(last.buffer, last.length - 8);
    length.setUint32(0, Math.floor(file.size / 0x20000000));
    length.setUint32(4, (file.size * 8) >>> 0);
    blocks(H, last, 0, last.length);
    return Array.from(H, (word) => word.toString(16).padStart(8, "0")).join("");
  }
};

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ digest: await digest(data, (done) => self.postMessage({ done })) });
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};
