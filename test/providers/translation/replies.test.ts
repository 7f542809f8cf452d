import { describe, expect, it } from 'vitest';
import { textOf } from '../../support/chunks.ts';
import { FIXTURES } from '../../support/reply-fixtures.ts';
import {
  ACCUMULATE,
  COMPARABLE,
  eventsOf,
  joined,
  WRITERS,
  written,
  writtenWhole,
  type WriterName,
} from '../../support/replies.ts';

const DIALECTS = Object.keys(WRITERS) as WriterName[];

describe.each(FIXTURES)('$title', ({ dialect, stream, body }) => {
  const events = eventsOf(dialect, [body], { stream });

  it('comes to its end', () => {
    expect(events.at(-1)).toEqual({ kind: 'end' });
  });

  it('says the same wherever the network cuts it', () => {
    const same = joined(events);
    for (let cut = 0; cut <= body.length; cut += 1) {
      const chunks = [body.subarray(0, cut), body.subarray(cut)];
      expect(joined(eventsOf(dialect, chunks, { stream })), `cut at ${cut}`).toEqual(same);
    }
    const bytes = Array.from(body, (_, index) => body.subarray(index, index + 1));
    expect(joined(eventsOf(dialect, bytes, { stream }))).toEqual(same);
  });

  it.each(DIALECTS)(
    "written as a %s stream, is to the vendor's SDK what the whole reply says",
    async (to) => {
      const accumulated = await ACCUMULATE[to](written(to, events, { stream: true }));
      const said = COMPARABLE[to](writtenWhole(to, events));
      expect(COMPARABLE[to](accumulated)).toMatchObject(said);
    },
  );

  it.each(DIALECTS)('written as %s, says nothing final before its end', (to) => {
    const open = events.filter((event) => event.kind !== 'end');
    const streamed = textOf([written(to, open, { stream: true })]);
    expect(streamed).not.toMatch(
      /^(data: \[DONE\]|event: (message_stop|message_delta|response\.completed|response\.incomplete))$/mu,
    );
    expect(written(to, open, { stream: false })).toHaveLength(0);
  });
});
