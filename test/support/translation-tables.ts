/** The tables of translation as docs/translation.md has them, made from the code: one list of cells a row. */
import { CHAT_PLACES } from '../../providers/translation/chat/members.ts';
import { GEMINI_PLACES } from '../../providers/translation/gemini/members.ts';
import type { Fate, Places } from '../../providers/translation/members.ts';
import { MESSAGES_PLACES } from '../../providers/translation/messages/members.ts';
import { RESPONSES_PLACES } from '../../providers/translation/responses/members.ts';
import { TARGETS } from '../../providers/translation/targets.ts';

export type Rows = readonly (readonly string[])[];

const CALLERS: Readonly<Record<string, Places>> = {
  'Chat completions': CHAT_PLACES,
  Responses: RESPONSES_PLACES,
  Messages: MESSAGES_PLACES,
  Gemini: GEMINI_PLACES,
};

/** The headings of the callers' tables, and their rows: what is carried in each place, then whatever is not. */
export const callerTables = (): ReadonlyMap<string, Rows> =>
  new Map(Object.entries(CALLERS).map(([heading, places]) => [heading, rowsOf(places)]));

const rowsOf = (places: Places): Rows =>
  Object.entries(places).flatMap(([place, members]) => {
    const name = place === '' ? 'the request' : place;
    const carried = Object.keys(members).filter((member) => members[member] === 'carried');
    const others = Object.entries(members)
      .filter(([, fate]) => fate !== 'carried')
      .map(([member, fate]) => [code(name), said(fate), `${code(member)}: ${reason(fate)}`]);
    return [[code(name), 'carried', carried.map(code).join(', ')]].concat(others);
  });

/** A row for each member of a conversation, a cell for each dialect it may be written in. */
export const targetTable = (): Rows =>
  Object.keys(TARGETS.chat).map((member) =>
    [code(member)].concat(
      Object.values(TARGETS).map((members) => {
        const fate = Object.entries(members).find(([name]) => name === member)?.[1] ?? 'carried';
        return fate === 'carried' ? fate : `${said(fate)}: ${reason(fate)}`;
      }),
    ),
  );

const code = (text: string): string => `\`${text}\``;

const said = (fate: Fate): string => (fate === 'carried' ? fate : (Object.keys(fate)[0] ?? ''));

function reason(fate: Fate): string {
  if (fate === 'carried') return '';
  if ('carried' in fate) return fate.carried;
  if ('ignored' in fate) return fate.ignored;
  const unless = (fate.unless ?? []).map((value) => code(JSON.stringify(value))).join(' or ');
  return unless === '' ? fate.refused : `${fate.refused}; ${unless} passes`;
}
