/** The product's cryptography on `node:crypto`: Node itself, and workerd with `nodejs_compat`. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import * as nodeCrypto from 'node:crypto';
import type { Crypto } from '../runtime.ts';

export function createNodeCrypto(): Crypto {
  return {
    // The one-shot function makes no object per call; not every workerd has it.
    sha256:
      typeof nodeCrypto.hash === 'function'
        ? (text) => nodeCrypto.hash('sha256', text, 'hex')
        : (text) => createHash('sha256').update(text, 'utf8').digest('hex'),
    equal(a, b) {
      const [left, right] = [Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')];
      return left.byteLength === right.byteLength && timingSafeEqual(left, right);
    },
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
  };
}
