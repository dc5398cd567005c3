import { StageHost, type StageEvents } from '../../../stage/stage-host.js';
import { Turns } from '../../../stage/turns.js';
import { silent } from '../../support/silent.js';
import { closeLater } from '../../transport/support/sockets.js';
import { sessionId } from './coordinator.js';

/** The end of a route that a coordinator without layers has: it passes steps on. */
export function ownEnd(hiddenSize: number): StageHost {
  const ignore = () => undefined;
  const events: StageEvents = { onResult: ignore, onStepFailed: ignore, onLinkLost: ignore };
  const host = new StageHost(
    {
      name: 'the coordinator',
      session: sessionId,
      softwareVersion: 'test',
      channel: { transport: 'tcp', logger: silent },
      hiddenSize,
      maxStepRows: 256,
      turns: new Turns(),
      logger: silent,
    },
    events,
  );
  closeLater(() => host.close('the test is over'));
  return host;
}
