import koffi, { type node } from 'koffi';
import { offsetOf } from './layouts.js';
import { loadVerbs, operation, type Operations, type Pointer } from './verbs.js';

/** Has the event loop notice completions: the device writes to a file descriptor when it was asked to. */
export class CompletionEvents {
  readonly #handle: node.PollHandle;
  readonly #request: Operations['req_notify_cq'];

  /**
   * @param channel that the queue was made with
   * @param onEvent called when something has completed after `request`
   * @throws Error when the descriptor is of no use to the event loop
   */
  constructor(
    context: Pointer,
    private readonly channel: Pointer,
    private readonly queue: Pointer,
    onEvent: () => void,
  ) {
    this.#request = operation(context, 'req_notify_cq');
    const descriptor = koffi.decode(channel, offsetOf('ibv_comp_channel', 'fd'), 'int') as number;
    this.#handle = koffi.node.poll(descriptor, () => {
      this.#takeEvent();
      onEvent();
    });
    // Links keep a process alive by their connection.
    this.#handle.unref();
  }

  /** The next completion gives an event. */
  request(): void {
    this.#request(this.queue, 0);
  }

  /** Before the queue is destroyed, which waits for events that nobody has taken. */
  close(): void {
    this.#handle.close();
  }

  #takeEvent(): void {
    const { takeEvent, acknowledgeEvents } = loadVerbs();
    if (takeEvent?.(this.channel, [null], [null]) === 0) acknowledgeEvents?.(this.queue, 1);
  }
}
