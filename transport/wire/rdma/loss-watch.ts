import type { Connection } from '../connection.js';
import type { FrameStream } from './frame-stream.js';
import type { QueueKind } from './queue-pair.js';

/** Milliseconds after which frames that nobody has said to have arrived are asked for. */
const askAfterMs = 50;

/** Milliseconds for frames that must be on their way before they count as lost. RC says itself when it gives up. */
const patienceMs = { uc: 300, rc: 3000 } as const;

/** Notices that the last frames before a pause were lost: no later frame shows the gap, so the two ends talk about it. */
export class LossWatch {
  #askTimer: NodeJS.Timeout | undefined;
  #lossTimer: NodeJS.Timeout | undefined;

  /**
   * @param waiting how many frames have arrived that the stream was not given yet
   * @param onLost gets the cause
   */
  constructor(
    private readonly connection: Connection,
    private readonly stream: FrameStream,
    private readonly kind: QueueKind,
    private readonly waiting: () => number,
    private readonly onLost: (cause: string) => void,
  ) {}

  /** A frame is on its way: when no other follows soon, makes sure that all arrived. */
  sent(): void {
    if (this.#askTimer) return void this.#askTimer.refresh();
    this.#askTimer = setTimeout(() => {
      if (this.stream.unacknowledged === 0) return;
      this.connection.send('framesSent', { count: this.stream.sent });
    }, askAfterMs).unref();
  }

  /** The other end makes sure that its frames arrived. @param sent how many there were */
  asked(sent: number): void {
    const { arrived } = this.stream;
    this.connection.send('framesArrived', { count: arrived });
    clearTimeout(this.#lossTimer);
    if (arrived + this.waiting() >= sent) return;
    this.#lossTimer = setTimeout(() => {
      if (this.stream.arrived + this.waiting() >= sent) return;
      if (this.stream.arrived === arrived) this.onLost(`frame ${arrived + 1} was lost`);
      else this.asked(sent);
    }, patienceMs[this.kind]).unref();
  }

  end(): void {
    clearTimeout(this.#askTimer);
    clearTimeout(this.#lossTimer);
  }
}
