/** The chat completions dialect as a provider: what OpenAI and everyone compatible share. */
import { memberValue } from '../../src/usage/json-scanner.ts';
import { tokensOfQuarters } from '../../src/usage/text-estimate.ts';
import type { Provider, ProviderCall, ResponseReader, UpstreamHead } from '../provider.ts';
import { ChatJsonReader, isSuccess } from './json-reader.ts';
import { chatRequest } from './request.ts';
import { ChatStreamReader } from './stream-reader.ts';
import { listModels, modelIds } from './models.ts';
import { messagesQuarters, toolsQuarters } from './text.ts';

export function createChatProvider(type: string): Provider {
  return {
    type,
    endpoints: ['chat.completions'],
    prepare(call, upstream) {
      const { request, addedUsageOption } = chatRequest(call, upstream);
      return {
        request,
        addedUsageOption,
        read: (head) => readerOf(head, call.stream, addedUsageOption),
      };
    },
    listModels,
    modelIds,
    estimateInput,
    leastInput,
  };
}

/** The reply's own word on what it is comes before what was asked for: errors are JSON whatever was asked. */
function readerOf(head: UpstreamHead, streamAsked: boolean, withholdsUsage: boolean): ResponseReader {
  const contentType = (head.headers['content-type'] ?? '').toLowerCase();
  const streams = contentType.includes('event-stream') || (streamAsked && !contentType.includes('json'));
  return streams && isSuccess(head.status) ? new ChatStreamReader(withholdsUsage) : new ChatJsonReader(head);
}

const estimateInput = (call: ProviderCall): number => tokensOfQuarters(inputQuarters(call));

/**
 * Half of what the text alone weighs: eight characters of English a token, where tokenizers come to four or five. What
 * frames a message is left out, since vendors differ in charging for it.
 */
const leastInput = (call: ProviderCall): number => Math.floor(inputQuarters(call, 0) / 8);

function inputQuarters(call: ProviderCall, frame?: number): number {
  return (
    messagesQuarters(memberValue(call.body, call.scan, 'messages'), frame) +
    toolsQuarters(memberValue(call.body, call.scan, 'tools')) +
    toolsQuarters(memberValue(call.body, call.scan, 'functions'))
  );
}
