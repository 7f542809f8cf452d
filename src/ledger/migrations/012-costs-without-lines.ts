/**
 * What a call costs without a token (images, seconds, characters) is billed in the cost layout: a line of no tokens
 * (attempt 0, no model) carries its cost. `lines` is written anew, since `tokens > 0` refused such a line.
 */
export const COSTS_WITHOUT_LINES_MIGRATION = {
  version: 12,
  purpose: 'costs of calls that have no token lines',
  statements: [
    `CREATE TABLE lines_with_costs (
      call TEXT NOT NULL REFERENCES calls (id), attempt BIGINT NOT NULL, model TEXT NOT NULL, token_type TEXT NOT NULL,
      destination TEXT NOT NULL, tokens BIGINT NOT NULL CHECK (tokens > 0 OR (tokens = 0 AND destination = 'cost')),
      pico BIGINT, event TEXT NOT NULL, PRIMARY KEY (call, attempt, model, token_type, destination))`,
    `INSERT INTO lines_with_costs (call, attempt, model, token_type, destination, tokens, pico, event)
      SELECT call, attempt, model, token_type, destination, tokens, pico, event FROM lines`,
    `DROP TABLE lines`,
    `ALTER TABLE lines_with_costs RENAME TO lines`,
    `CREATE INDEX lines_by_event ON lines (event)`,
  ],
} as const;
