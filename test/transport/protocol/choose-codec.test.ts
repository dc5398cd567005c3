import { describe, expect, test } from 'vitest';
import { chooseCodec } from '../../../transport/protocol/choose-codec.js';

/** Bytes per millisecond, as measured; noise is what a busy machine makes of them. */
const links = {
  modem: 900,
  'slow Wi-Fi': 5_000,
  'Wi-Fi': 35_000,
  '1 GbE': 114_000,
  '2.5 GbE': 285_000,
  '10 GbE': 1_100_000,
  loopback: 700_000,
} as const;

/** What steps take: of a small model on two cores, of 8 billion parameters on two such machines, or on two GPUs. */
const small = { decodeMs: 0.6, promptRowMs: 0.12 };
const cpus = { decodeMs: 60, promptRowMs: 8 };
const gpus = { decodeMs: 11.5, promptRowMs: 0.18 };

const codecOver = (link: keyof typeof links, expected: typeof small, hiddenSize: number) =>
  chooseCodec({ bytesPerMs: links[link] }, expected, hiddenSize);

describe('the codec of a link', () => {
  test.each(['loopback', '10 GbE', '2.5 GbE'] as const)('is exact over %s', (link) => {
    expect(codecOver(link, small, 1024)).toBe('f32');
    expect(codecOver(link, cpus, 4096)).toBe('f32');
    expect(codecOver(link, gpus, 4096)).toBe('f32');
  });

  test('is exact, or nearly, over 1 GbE', () => {
    expect(codecOver('1 GbE', small, 256)).toBe('f32');
    expect(codecOver('1 GbE', cpus, 4096)).toBe('f32');
    expect(codecOver('1 GbE', gpus, 4096)).toBe('f16');
  });

  test('is as exact over Wi-Fi as the step is long', () => {
    expect(codecOver('Wi-Fi', cpus, 4096)).toBe('f32');
    expect(codecOver('Wi-Fi', gpus, 4096)).toBe('fp8');
    expect(codecOver('slow Wi-Fi', { decodeMs: 250, promptRowMs: 8 }, 4096)).toBe('int8');
    expect(codecOver('slow Wi-Fi', cpus, 4096)).toBe('fp8');
    expect(codecOver('modem', cpus, 4096)).toBe('fp8');
  });

  test('is no larger than what prompts hide', () => {
    expect(codecOver('1 GbE', { decodeMs: 1000, promptRowMs: 0.2 }, 4096)).toBe('f32');
    expect(codecOver('1 GbE', { decodeMs: 1000, promptRowMs: 0.12 }, 4096)).toBe('f16');
    expect(codecOver('1 GbE', { decodeMs: 1000, promptRowMs: 0.08 }, 4096)).toBe('int8');
    expect(codecOver('1 GbE', { decodeMs: 1000, promptRowMs: 0.03 }, 4096)).toBe('fp8');
  });

  test('does not change with what noise makes of a cable', () => {
    for (const link of ['1 GbE', '2.5 GbE', '10 GbE', 'loopback'] as const)
      for (const expected of [small, cpus, gpus])
        for (const hiddenSize of [256, 1024, 4096]) {
          const usual = codecOver(link, expected, hiddenSize);
          for (const noise of [0.85, 0.95, 1.03])
            expect(
              chooseCodec({ bytesPerMs: links[link] * noise }, expected, hiddenSize),
              `${link} × ${noise}, ${hiddenSize} values`,
            ).toBe(usual);
        }
  });
});
