import { describe, expect, it } from 'vitest';
import { billedName } from '../../src/billing/billed-model.ts';

describe('the billed model', () => {
  it.each([
    ['openai', 'gpt-4o-mini', 'gpt-4o-mini'],
    ['openai', 'gpt-4o-mini-2024-07-18', 'gpt-4o-mini'],
    ['openai', 'gpt-4o-2024-05-13', 'gpt-4o-2024-05-13'],
    ['openai', 'gpt-4o-2024-08-06', 'gpt-4o'],
    ['openai', 'gpt-4-0613', 'gpt-4'],
    ['openai', 'gpt-3.5-turbo-1106', 'gpt-3.5-turbo-1106'],
    ['openai', 'gpt-4-1106-preview', 'gpt-4-1106-preview'],
    ['openai', 'chatgpt-4o-latest', 'chatgpt-4o-latest'],
    ['openai', 'ft:gpt-4o-mini-2024-07-18:acme::x', 'ft:gpt-4o-mini-2024-07-18:acme::x'],
    ['openai', 'ft:gpt-4o-mini-2024-07-18', 'ft:gpt-4o-mini-2024-07-18'],
    ['anthropic', 'claude-sonnet-4-5-20250929', 'claude-sonnet-4.5'],
    ['anthropic', 'claude-sonnet-4-5@20250929', 'claude-sonnet-4.5'],
    ['anthropic', 'claude-3-5-haiku-latest', 'claude-3.5-haiku'],
    ['anthropic', 'claude-opus-4-20250514', 'claude-opus-4'],
    ['anthropic', 'claude-opus-4-0', 'claude-opus-4.0'],
    ['anthropic', 'claude-3-haiku-20240307', 'claude-3-haiku'],
    ['anthropic', 'claude-sonnet-4.6', 'claude-sonnet-4.6'],
    ['google', 'models/gemini-2.5-flash', 'gemini-2.5-flash'],
    ['google', 'gemini-2.5-pro', 'gemini-2.5-pro'],
    ['openai-compatible', 'llama-3.3-70b-versatile', 'llama-3.3-70b-versatile'],
    ['openai-compatible', 'gpt-4o-mini-2024-07-18', 'gpt-4o-mini-2024-07-18'],
    ['demo', 'echo', 'echo'],
  ])('of %s for %s is %s', (providerType, model, expected) => {
    expect(billedName(providerType, model)).toBe(expected);
  });
});
