import { describe, expect, test } from 'vitest';
import { FairOrder, type Ticket } from '../../coord/fair-order.js';
import { typicalCosts } from '../../coord/prompt-chunks.js';
import { nextStep, type NextStep, type StepKind, type Waiting } from '../../coord/scheduler.js';
import { Random } from '../support/random.js';

const mostRows = 16;
const partRows = 64;

/** A made-up sequence: reads a text of so many rows, then decodes so many tokens. */
class Simulated implements Waiting {
  due = 0;
  ticket: Ticket = { due: 0, end: 0 };
  isDecoding = false;
  /** Steps with it in flight. */
  inFlight = 0;
  /** Steps that have been made since it began to wait. */
  waited = 0;

  constructor(
    public rows: number,
    public tokens: number,
    readonly priority: number,
  ) {}

  get wants(): StepKind | undefined {
    if (this.rows > 0) return 'text';
    return this.tokens > 0 && this.inFlight === 0 ? 'token' : undefined;
  }
}

interface Flight {
  readonly kind: StepKind;
  readonly sequences: readonly Simulated[];
}

/** Sequences and steps without stages: results come back in the order of their steps. */
class Simulation {
  readonly orders = { token: new FairOrder(1), text: new FairOrder(partRows) };
  readonly sequences = new Set<Simulated>();
  readonly flights: Flight[] = [];
  readonly costs;

  constructor(readonly stages: number) {
    const stage = Array.from({ length: stages }, () => typicalCosts);
    this.costs = { stages: stage, hopMs: 1, sharing: 1 };
  }

  add(rows: number, tokens: number, priority = 0): Simulated {
    const sequence = new Simulated(rows, tokens, priority);
    this.#ask(sequence);
    this.sequences.add(sequence);
    return sequence;
  }

  /** Makes all steps that are to be made now. */
  advance(onStep: (step: NextStep<Simulated>) => void = () => undefined): void {
    for (let step = this.#next(); step; step = this.#next()) {
      onStep(step);
      for (const sequence of this.sequences) if (sequence.wants === step.kind) sequence.waited++;
      const sequences = step.kind === 'token' ? step.sequences : [step.sequence];
      for (const sequence of sequences) this.#send(sequence, step.kind);
      this.flights.push({ kind: step.kind, sequences });
    }
  }

  /** The step that was made first is back. */
  comeBack(): void {
    const { kind, sequences } = this.flights.shift() as Flight;
    for (const sequence of sequences) {
      sequence.inFlight--;
      if (kind === 'token') sequence.tokens--;
      if (sequence.rows > 0 || sequence.inFlight > 0) continue;
      if (sequence.tokens === 0) this.sequences.delete(sequence);
      else this.#ask(sequence);
    }
  }

  get decoding(): number {
    return [...this.sequences].filter((sequence) => sequence.isDecoding).length;
  }

  count(what: StepKind): number {
    return this.flights.filter(({ kind }) => kind === what).length;
  }

  #ask(sequence: Simulated): void {
    const { rows, priority } = sequence;
    const order = this.orders[rows > 0 ? 'text' : 'token'];
    sequence.ticket = order.enter(Math.max(1, rows), { priority });
    sequence.due = sequence.ticket.due;
    sequence.isDecoding = rows === 0;
    sequence.waited = 0;
    // Who asks again stands behind all others.
    if (this.sequences.delete(sequence)) this.sequences.add(sequence);
  }

  #send(sequence: Simulated, kind: StepKind): void {
    sequence.inFlight++;
    sequence.waited = 0;
    if (kind === 'text') sequence.rows = Math.max(0, sequence.rows - partRows);
    this.orders[kind].served(sequence.ticket, sequence.rows);
  }

  #next(): NextStep<Simulated> | undefined {
    return nextStep({
      waiting: [...this.sequences],
      decoding: this.decoding,
      speculating: 0,
      inFlight: { token: this.count('token'), text: this.count('text') },
      costs: this.costs,
      mostRows,
    });
  }
}

function random(): Random[] {
  return Array.from({ length: 50 }, (_, seed) => new Random(seed));
}

describe('over random schedules', () => {
  test.each(random())('all get on, and steps are in order', (random) => {
    const stages = random.between(1, 4);
    const simulation = new Simulation(stages);
    const arrivals = random.between(1, 60);
    for (let added = 0; added < arrivals || simulation.sequences.size > 0;) {
      if (added < arrivals && random.share() < 0.3) {
        simulation.add(random.between(0, 1000), random.between(1, 30), random.between(-1, 1));
        added++;
      }
      simulation.advance((step) => {
        const others = simulation.decoding;
        if (step.kind === 'text') {
          expect(step.isShort).toBe(others > 0);
          expect(simulation.count('text')).toBeLessThan(others > 0 ? stages + 1 : 2 * stages);
          return;
        }
        expect(new Set(step.sequences).size).toBe(step.sequences.length);
        expect(step.sequences.length).toBeLessThanOrEqual(mostRows);
        expect(step.sequences.every(({ inFlight }) => inFlight === 0)).toBe(true);
      });
      if (simulation.sequences.size > 0) expect(simulation.flights.length).toBeGreaterThan(0);
      // Nobody stands still: others may be shorter, more urgent, or have come before.
      const waited = [...simulation.sequences].map((sequence) => sequence.waited);
      expect(Math.max(0, ...waited)).toBeLessThan(600);
      if (simulation.flights.length > 0 && random.share() < 0.8) simulation.comeBack();
    }
  });
});

describe('decoding', () => {
  test.each([1, 2, 3])('over %i stages keeps as many steps in flight, equally large', (stages) => {
    const simulation = new Simulation(stages);
    for (let i = 0; i < 4 * stages; i++) simulation.add(0, 100);
    const rows: number[] = [];
    for (let step = 0; step < 40; step++) {
      simulation.advance((next) => {
        if (next.kind === 'token') rows.push(next.sequences.length);
      });
      expect(simulation.count('token')).toBe(stages);
      simulation.comeBack();
    }
    expect(rows.slice(-10)).toEqual(new Array(10).fill(4));
  });

  test('serves whoever has waited longest, and an urgent one before', () => {
    const simulation = new Simulation(1);
    const crowd = Array.from({ length: 80 }, () => simulation.add(0, 20));
    const urgent = simulation.add(0, 20, 5);
    const left = () => crowd.map(({ tokens }) => tokens);
    while (simulation.sequences.has(urgent)) {
      simulation.advance();
      simulation.comeBack();
      expect(Math.max(...left()) - Math.min(...left())).toBeLessThanOrEqual(1);
    }
    // It waits for the three steps in flight alone, the others for all 81.
    expect(Math.min(...left())).toBeGreaterThanOrEqual(20 - (20 * 3 * mostRows) / 80);
  });
});

describe('texts', () => {
  test('are read whole one after the other, the short one first', () => {
    const simulation = new Simulation(2);
    const long = simulation.add(2000, 1);
    const short = simulation.add(200, 1);
    const order: Simulated[] = [];
    simulation.advance((step) => {
      if (step.kind === 'text') order.push(step.sequence);
    });
    expect(order).toEqual([short, short, short, short]);
    simulation.comeBack();
    simulation.advance((step) => step.kind === 'text' && order.push(step.sequence));
    expect(order.at(-1)).toBe(long);
  });

  test('that are long have their turn, however many short ones come', () => {
    const simulation = new Simulation(2);
    const long = simulation.add(2000, 1);
    let steps = 0;
    while (simulation.sequences.has(long)) {
      if ([...simulation.sequences].filter(({ rows }) => rows > 0).length < 3)
        simulation.add(partRows, 1);
      simulation.advance(() => steps++);
      simulation.comeBack();
    }
    expect(steps).toBeLessThan(200);
  });

  test('are read beside those who decode, in short parts', () => {
    const simulation = new Simulation(2);
    simulation.add(0, 100);
    simulation.add(1000, 1);
    const kinds: string[] = [];
    simulation.advance((step) =>
      kinds.push(step.kind === 'text' && step.isShort ? 'short' : step.kind),
    );
    expect(kinds).toEqual(['token', 'short', 'short', 'short']);
  });
});

describe('the order', () => {
  test('gives clients equal shares, however many sequences they have', () => {
    const order = new FairOrder(1);
    let waiting = Array.from({ length: 60 }, () => order.enter(1, { client: 'many' }));
    const few = new Set<Ticket>();
    const enterFew = () => {
      const ticket = order.enter(1, { client: 'few' });
      few.add(ticket);
      waiting.push(ticket);
    };
    for (let i = 0; i < 4; i++) enterFew();
    let served = 0;
    for (let step = 0; step < 100; step++) {
      waiting = waiting.sort((a, b) => a.due - b.due);
      const next = waiting.splice(0, 2);
      for (const ticket of next) {
        order.served(ticket, 0);
        if (few.has(ticket)) {
          served++;
          enterFew();
        } else waiting.push(order.enter(1, { client: 'many' }));
      }
    }
    expect(served).toBeGreaterThan(90);
    expect(served).toBeLessThan(110);
  });
});
