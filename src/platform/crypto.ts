/** The product's cryptography on `node:crypto`: Node itself, and workerd with `nodejs_compat`. */
import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Crypto } from '../runtime.ts';

export function createNodeCrypto(): Crypto {
  return {
    // The one-shot function makes no hash object per call; this is on every request's path.
    sha256: (content) => hash('sha256', content, 'hex'),
    hmac: (secret, text) => createHmac('sha256', secret).update(text, 'utf8').digest('hex'),
    equal(a, b) {
      const [left, right] = [Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')];
      return left.byteLength === right.byteLength && timingSafeEqual(left, right);
    },
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
  };
}
