/**
 * What each dialect can say of a conversation as a whole. Every member has a fate in every dialect;
 * docs/translation.md shows the table as it is here.
 */
import { type Conversation, type Member, Untranslatable } from './conversation.ts';
import { type Fate, isGiven, isHarmless } from './members.ts';
import { malformed } from './reading.ts';

export type TargetDialect = 'chat' | 'responses' | 'messages' | 'gemini';

const noSetting: Fate = { refused: 'the dialect has no such setting' };
const notStored: Fate = {
  refused: 'a translated reply cannot be read again from the vendor',
  unless: [false],
};
const labels: Fate = { ignored: 'labels are kept with a stored reply, and none is stored' };
const cacheKey: Fate = { ignored: "it only helps OpenAI's cache" };
const endUser: Fate = { carried: 'unless it is longer than the 64 characters that OpenAI takes' };
const length: Fate = { refused: 'the dialect has no such setting', unless: ['medium'] };

export const TARGETS: Readonly<Record<TargetDialect, Readonly<Record<Member, Fate>>>> = {
  chat: {
    tools: 'carried',
    toolChoice: 'carried',
    parallelTools: 'carried',
    format: 'carried',
    effort: 'carried',
    budgetTokens: { carried: 'as an effort; a budget of 0 is the default' },
    visible: { ignored: 'whoever speaks the dialect shows what it shows' },
    maxTokens: 'carried',
    temperature: 'carried',
    topP: 'carried',
    topK: noSetting,
    stop: 'carried',
    seed: 'carried',
    presencePenalty: 'carried',
    frequencyPenalty: 'carried',
    choices: 'carried',
    logprobs: 'carried',
    endUser,
    metadata: labels,
    serviceTier: 'carried',
    store: notStored,
    cacheKey,
    verbosity: 'carried',
  },
  responses: {
    tools: 'carried',
    toolChoice: 'carried',
    parallelTools: 'carried',
    format: 'carried',
    effort: 'carried',
    budgetTokens: { carried: 'as an effort' },
    visible: { carried: 'as a summary' },
    maxTokens: { carried: 'fewer than 16 as 16, the least it takes' },
    temperature: 'carried',
    topP: 'carried',
    topK: noSetting,
    stop: noSetting,
    seed: noSetting,
    presencePenalty: noSetting,
    frequencyPenalty: noSetting,
    choices: { refused: 'the dialect has one answer' },
    logprobs: 'carried',
    endUser,
    metadata: labels,
    serviceTier: 'carried',
    store: notStored,
    cacheKey: 'carried',
    verbosity: 'carried',
  },
  messages: {
    tools: 'carried',
    toolChoice: 'carried',
    parallelTools: 'carried',
    format: { carried: 'a schema; any JSON object at all is refused' },
    effort: { carried: 'as a budget where the model wants one' },
    budgetTokens: { carried: 'as an effort where the model wants one' },
    visible: 'carried',
    maxTokens: { carried: 'where it is left out, a default of the model' },
    temperature: { carried: 'up to 1; a higher one is refused' },
    topP: 'carried',
    topK: 'carried',
    stop: 'carried',
    seed: noSetting,
    presencePenalty: noSetting,
    frequencyPenalty: noSetting,
    choices: { refused: 'the dialect has one answer' },
    logprobs: { refused: 'the dialect tells no probabilities' },
    endUser: 'carried',
    metadata: labels,
    serviceTier: { carried: '"auto" and "default"; others are refused' },
    store: notStored,
    cacheKey,
    verbosity: length,
  },
  gemini: {
    tools: 'carried',
    toolChoice: 'carried',
    parallelTools: { refused: 'the dialect cannot hold a model to one call', unless: [true] },
    format: 'carried',
    effort: { carried: 'as a level, or as a budget where the model wants one' },
    budgetTokens: { carried: 'as a level where the model wants one' },
    visible: 'carried',
    maxTokens: 'carried',
    temperature: 'carried',
    topP: 'carried',
    topK: 'carried',
    stop: 'carried',
    seed: 'carried',
    presencePenalty: 'carried',
    frequencyPenalty: 'carried',
    choices: 'carried',
    logprobs: 'carried',
    endUser: { ignored: 'the dialect has no place for it' },
    metadata: labels,
    serviceTier: 'carried',
    store: notStored,
    cacheKey,
    verbosity: length,
  },
};

/**
 * Sees that nothing was asked for that the dialect cannot say, or that nobody could do.
 *
 * @throws {Untranslatable} naming the first by the caller's own name.
 */
export function checkTarget(conversation: Conversation, dialect: TargetDialect): void {
  const { tools, toolChoice, names } = conversation;
  if (tools.length === 0 && (toolChoice?.kind === 'required' || toolChoice?.kind === 'tool'))
    throw malformed(names.toolChoice ?? 'toolChoice', 'wants a tool to be called, and there are none');
  for (const [member, value] of Object.entries(membersOf(conversation))) {
    const fate = isMember(member) && isGiven(value) ? TARGETS[dialect][member] : 'carried';
    if (typeof fate !== 'object' || !('refused' in fate) || isHarmless(value, fate.unless)) continue;
    throw cannotSay(conversation, member as Member, fate.refused);
  }
}

/** A member, or one value of it, that cannot be said. */
export const cannotSay = (conversation: Conversation, member: Member, why: string): Untranslatable =>
  new Untranslatable(conversation.names[member] ?? member, why);

const isMember = (name: string): name is Member => Object.hasOwn(TARGETS.chat, name);

const membersOf = (conversation: Conversation): Readonly<Record<string, unknown>> => ({
  ...conversation,
  ...conversation.reasoning,
  ...conversation.sampling,
});
