/** Any vendor or server that speaks OpenAI's dialect at a base URL of its own. */
import { createChatProvider } from './openai-chat/provider.ts';

export const openaiCompatible = createChatProvider('openai-compatible');
