import { expect, test } from 'vitest';
import { describeLink, Links } from '../../coord/links.js';
import type { StagePort } from '../../coord/stage-port.js';
import { silent } from '../support/silent.js';

const stage = (name: string) => ({ name }) as StagePort;
const figures = { roundTripMs: 0.312, bytesPerMs: 112_300 };

test('a codec that was chosen stays while both ends of its link do', () => {
  const [own, before, last, after] = ['own', 'before', 'last', 'after'].map(stage) as [
    StagePort,
    StagePort,
    StagePort,
    StagePort,
  ];
  const links = new Links(silent);
  const choices = (stages: readonly StagePort[]) =>
    [0, 1].map((link) => links.choiceFor(stages, link, 'auto'));
  const first = [own, before, last];
  expect(choices(first)).toEqual(['auto', 'auto']);
  links.linked(first, [
    { codec: 'f16', figures },
    { codec: 'f32', figures },
  ]);
  expect(choices(first)).toEqual(['f16', 'f32']);
  // Linked anew, it is not measured again; what was measured stays known.
  links.linked(first, [{ codec: 'f16' }, { codec: 'f32' }]);
  expect(links.links[0]).toEqual({ from: 'own', to: 'before', codec: 'f16', figures });
  const moved = [own, after, last];
  expect(choices(moved)).toEqual(['auto', 'auto']);
  links.linked(moved, [{ codec: 'fp8', figures }, { codec: 'int8' }]);
  expect(links.links.map(describeLink)).toEqual([
    'own to after: fp8 (0.31 ms there and back, 112 MB/s)',
    'after to last: int8',
  ]);
});
