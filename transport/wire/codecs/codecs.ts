import { TransportError } from '../errors.js';
import type { Codec, CodecChoice } from './codec.js';
import { bf16 } from './bf16.js';
import { f16 } from './f16.js';
import { f32 } from './f32.js';
import { fp8 } from './fp8.js';
import { int8 } from './int8.js';

const codecs: readonly Codec[] = [f32, f16, bf16, fp8, int8];

export const codecNames = codecs.map((codec) => codec.name);

export const codecChoices: readonly CodecChoice[] = ['auto', ...codecNames];

/** @throws TransportError 'refused' for an unknown name; the message lists the known ones. */
export function codecNamed(name: string): Codec {
  const found = codecs.find((codec) => codec.name === name);
  if (!found)
    throw new TransportError(
      'refused',
      `unknown codec "${name}": known are ${codecNames.join(', ')}`,
    );
  return found;
}

/** @throws TransportError 'refused' for what is neither a codec's name nor `auto` */
export function codecChoiceNamed(name: string): CodecChoice {
  return name === 'auto' ? name : codecNamed(name).name;
}
