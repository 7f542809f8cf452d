/** OpenAI. */
import { createChatProvider } from './openai-chat/provider.ts';

export const openai = createChatProvider('openai');
