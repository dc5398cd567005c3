import type { GenerationSummary } from '../coord/conversation.js';

/** One line about an answer: how fast it was, and how much of the prompt was computed before. */
export function describeSummary(summary: GenerationSummary): string {
  const { ttftMs, tokPerSec, outputTokens, reusedTokens, promptTokens } = summary;
  const parts = [
    `TTFT ${Math.round(ttftMs)} ms`,
    `${tokPerSec.toFixed(1)} tok/s`,
    `${outputTokens} tokens`,
    `${reusedTokens} of ${promptTokens} prompt tokens reused`,
  ];
  const ends: Record<GenerationSummary['finishReason'], string[]> = {
    stop: [],
    length: ['cut off at --max-tokens'],
    context: ['cut off: the context is full'],
    cancelled: ['stopped'],
  };
  return [...parts, ...ends[summary.finishReason]].join(' · ');
}
