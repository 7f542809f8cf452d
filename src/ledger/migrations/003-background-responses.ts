/**
 * Responses that go on at their provider after the request that began them: each keeps its call open until it has ended.
 * `due_at_ms` is when it is asked about next; `misses` counts how often in a row the provider did not know it;
 * `input_tokens` is our own count of what was asked, for a provider that never tells its usage; `plan` is whose markup
 * holds. A row may outlive its
 * call's settlement by a moment: the next look removes it.
 */
const BACKGROUND_RESPONSES = [
  `CREATE TABLE background_responses (
    call TEXT NOT NULL PRIMARY KEY REFERENCES calls (id), attempt BIGINT NOT NULL, input_tokens BIGINT NOT NULL,
    plan TEXT, due_at_ms BIGINT NOT NULL, misses BIGINT NOT NULL DEFAULT 0)`,
  `CREATE INDEX background_responses_due ON background_responses (due_at_ms)`,
];

/** Whose a stored response is. Only calls of the one route pay for the index. */
const RESPONSE_IDS = [
  `CREATE INDEX calls_by_response ON calls (response_id) WHERE endpoint = 'responses' AND response_id IS NOT NULL`,
];

export const BACKGROUND_MIGRATION = {
  version: 3,
  purpose: 'responses in the background, and whose a stored response is',
  statements: [...BACKGROUND_RESPONSES, ...RESPONSE_IDS],
};
