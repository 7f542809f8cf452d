/** Anthropic's mark of what is to be cached. */
import type { CacheMark } from '../conversation.ts';
import type { JsonRecord } from '../members.ts';

export const writeCache = (mark: CacheMark | undefined): JsonRecord =>
  mark === undefined ? {} : { cache_control: { type: 'ephemeral', ttl: mark.ttl } };
