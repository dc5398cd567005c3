import { expect } from 'vitest';
import type { Step } from '../../../step/step.js';
import type { Message, Messages } from '../../../transport/messages/messages.js';
import { encodeBody, readResult } from '../../../transport/protocol/steps.js';
import { rowsAt } from '../../../transport/wire/tensor-channel.js';
import type { AttackedWorker } from './attacked-worker.js';
import { until, type RawPeer } from './raw-peer.js';

/** Sends what makes no sense over the connection for a stage's steps. */
export type StepAttack = readonly [what: string, send: (link: RawPeer) => void];

/** A stage of an attacked worker, seen by the stage before it and by its coordinator. */
export class AttackedStage {
  #lastId = 5000;

  /**
   * @param good a step that is in order, and hidden states for it
   * @param control connection of the coordinator, which gets the results
   */
  constructor(
    private readonly worker: AttackedWorker,
    private readonly control: RawPeer,
    private readonly number: number,
    private readonly good: { readonly step: Step; readonly hidden: Uint8Array },
  ) {}

  /** Sends what makes no sense, one after the other; the stage must compute the good step after each as before. */
  async attack(attacks: readonly StepAttack[]): Promise<void> {
    let link = await this.open();
    const { choices: expected } = await this.compute(link);
    expect(expected).toHaveLength(this.good.step.segments[0]?.tokens.length ?? 0);
    for (const [what, send] of attacks) {
      send(link);
      const { choices, said } = await this.compute(link);
      this.worker.judge(what, [...said, ...link.takeAll()], choices === undefined);
      if (choices) expect(choices, what).toEqual(expected);
      else {
        await link.close();
        link = await this.open();
        expect((await this.compute(link)).choices, what).toEqual(expected);
      }
    }
    await link.close();
  }

  /** A connection for steps, over which it was agreed how they come. */
  async open(): Promise<RawPeer> {
    const link = await this.connect();
    link.say('channelOffer', { transport: 'tcp', queue: '', slotBytes: 0 });
    return link;
  }

  /** A connection for steps. */
  connect(): Promise<RawPeer> {
    return this.worker.welcomed('tensor', { stage: this.number, codec: 'f32' });
  }

  /**
   * Has the good step computed.
   * @returns its choices, undefined when the connection for steps is closed; and what was said of other steps
   */
  async compute(
    link: RawPeer,
  ): Promise<{ choices: number[] | undefined; said: readonly Message[] }> {
    const { control, good } = this;
    const id = ++this.#lastId;
    sendStep(link, { ...good.step, id }, good.hidden);
    const isAnswer = ({ kind, body }: Message) =>
      (kind === 'result' || kind === 'stepFailed') && body.id === id;
    await until(() => link.isClosed || control.isClosed || control.hasHeard(isAnswer));
    expect(control.isClosed).toBe(false);
    const heard = control.takeAll();
    const said = heard.filter((message) => !isAnswer(message));
    const answer = heard.find(isAnswer);
    if (!answer) return { choices: undefined, said };
    expect(answer.kind, JSON.stringify(answer.body)).toBe('result');
    const { results } = readResult(answer.body as Messages['result']);
    return { choices: [...(results[0]?.choices ?? [])], said };
  }
}

/** The header that a step in order has. */
export function headerOf(step: Step): Messages['step'] {
  const { id, epoch } = step;
  return { id, epoch, bodyBytes: encodeBody(step).byteLength, receipt: false };
}

/** @param hidden encoded hidden states */
export function sendStep(link: RawPeer, step: Step, hidden: Uint8Array): void {
  link.say('step', headerOf(step), payloadOf(encodeBody(step), hidden));
}

/** What follows a step's header. */
export function payloadOf(body: Uint8Array, hidden: Uint8Array): Uint8Array {
  const payload = new Uint8Array(rowsAt(body.byteLength) + hidden.byteLength);
  payload.set(body);
  payload.set(hidden, rowsAt(body.byteLength));
  return payload;
}
