// Generated from daisychain.proto by "npm run generate"; change that file instead.

/**
 * The header of every frame. Sizes and offsets in bytes are doubles: exact to 2^53, and plain numbers everywhere.
 * What is a message of its own must be there, unless it is marked as optional.
 */
export interface Messages {
  readonly hello: Hello;
  readonly welcome: Welcome;
  readonly refuse: Refuse;
  readonly heartbeat: Heartbeat;
  readonly goodbye: Goodbye;
  readonly loadShard: LoadShard;
  readonly missing: Missing;
  readonly tensorData: TensorData;
  readonly stored: Stored;
  readonly loadProgress: LoadProgress;
  readonly ready: Ready;
  readonly failed: Failed;
  readonly link: Link;
  readonly linked: Linked;
  readonly unload: Unload;
  readonly unloaded: Unloaded;
  readonly step: Step;
  readonly credit: Credit;
  readonly result: Result;
  readonly stepFailed: StepFailed;
  readonly cancel: Cancel;
  readonly statsRequest: StatsRequest;
  readonly stats: Stats;
  readonly traceRequest: TraceRequest;
  readonly trace: Trace;
  readonly channelOffer: ChannelOffer;
  readonly channelAnswer: ChannelAnswer;
  readonly frame: Frame;
  readonly framesSent: FramesSent;
  readonly framesArrived: FramesArrived;
  readonly rdmaEnded: RdmaEnded;
  readonly bandwidthRequest: BandwidthRequest;
  readonly bandwidth: Bandwidth;
  readonly linkProbe: LinkProbe;
  readonly linkProbed: LinkProbed;
  readonly linkCodec: LinkCodec;
  readonly knownPages: KnownPages;
  readonly restorePages: RestorePages;
  readonly pageCount: PageCount;
}

/** Handshake: the side that dials sends this, the other answers Welcome or Refuse. */
export interface Hello {
  readonly protocolVersion: number;
  readonly softwareVersion: string;
  /**
   * "control" (coordinator to worker, both ways), "tensor" (a stage to the next one), "weights" (coordinator to worker:
   * tensors of a shard), or "info": to read the Welcome, without taking the worker.
   */
  readonly role: string;
  /** Chosen by the coordinator; ties tensor and weights connections to the control connection. Empty for "info". */
  readonly session: string;
  readonly name: string;
  /** For "tensor" and "weights": the stage that they are for. */
  readonly stage: number;
  /** For "tensor": how hidden states will be encoded; "auto" has the link measured first. */
  readonly codec: string;
}

export interface Welcome {
  readonly protocolVersion: number;
  readonly softwareVersion: string;
  readonly name: string;
  /** The same for all processes of a machine, and after a restart. */
  readonly machineId: string;
  /** "ggml" or "onnx". */
  readonly engine: string;
  /** Empty when the worker holds no model file. */
  readonly modelFingerprint: string;
  /** Free now, of the device's memory. */
  readonly freeBytes: number;
  readonly device: string;
  readonly threads: number;
  /** Whether it works for another coordinator. */
  readonly busy: boolean;
}

export interface Refuse {
  readonly code: string;
  readonly message: string;
}

export type Heartbeat = Record<string, never>;

export interface Goodbye {
  readonly reason: string;
}

export interface Shard {
  readonly firstLayer: number;
  readonly endLayer: number;
  readonly embedding: boolean;
  readonly head: boolean;
}

export interface TensorDescription {
  readonly name: string;
  readonly type: number;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Loading. The coordinator numbers the stages of a session. Answered by Missing (which tensors to send, over a connection
 * of role "weights"), LoadProgress, and Ready or Failed.
 */
export interface LoadShard {
  readonly stage: number;
  readonly shard: Shard;
  readonly modelFingerprint: string;
  /** Metadata that engines need, as JSON pairs; empty when the worker holds the model file. */
  readonly metadata: string;
  readonly tensors: readonly TensorDescription[];
  readonly cells: number;
  /** That share the cells in equal parts. */
  readonly conversations: number;
  readonly kvType: string;
  readonly maxStepRows: number;
  /** States that layers have memory for which keep those instead of cells. */
  readonly states: number;
  /** Whether reports are to say which experts rows go through. */
  readonly countsRoutings: boolean;
}

export interface Missing {
  readonly stage: number;
  readonly names: readonly string[];
}

/** On a weights connection: a part of a tensor, as payload. */
export interface TensorData {
  readonly name: string;
  readonly offset: number;
}

/** On a weights connection, back: the worker has written this many bytes to its cache, in all. */
export interface Stored {
  readonly bytes: number;
}

export interface LoadProgress {
  readonly stage: number;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface Ready {
  readonly stage: number;
  readonly weights: number;
  readonly kv: number;
  readonly compute: number;
  /** What keys and values are kept in: "f16", "q8_0", "q4_0", "f32" or "int8". */
  readonly kvType: string;
  /** Whether its cells can be moved. */
  readonly movesPages: boolean;
}

/** Loading or linking a stage failed ("load", "link"), or the link to the next stage has ended ("lost"). */
export interface Failed {
  readonly stage: number;
  readonly code: string;
  readonly message: string;
}

/**
 * From now on the stage is part of the route of this epoch: it drops steps of older ones, and sends what it computes to
 * the next stage, or, without one, its results to the coordinator. Answered by Linked or Failed.
 */
export interface Link {
  readonly stage: number;
  readonly epoch: number;
  readonly next?: NextStage;
}

export interface NextStage {
  readonly host: string;
  readonly port: number;
  /** The number that the next stage has in its worker's session. */
  readonly stage: number;
  readonly codec: string;
  /** "auto", "tcp" or "rdma", and for RDMA "rc", "uc" or empty. */
  readonly transport: string;
  readonly rdmaQueue: string;
  /** What the choice of a codec rests on where it is "auto". */
  readonly expected?: ExpectedStep;
}

/** Milliseconds that a decode step is expected to take on all stages, and each row of a prompt on the slowest. */
export interface ExpectedStep {
  readonly decodeMs: number;
  readonly promptRowMs: number;
}

export interface Linked {
  readonly stage: number;
  readonly epoch: number;
  /** How hidden states travel to the next stage; absent for the last one. */
  readonly link?: LinkReport;
}

export interface LinkReport {
  readonly codec: string;
  /** Where the codec was chosen by them. */
  readonly figures?: LinkFigures;
}

export interface LinkFigures {
  readonly roundTripMs: number;
  readonly bytesPerMs: number;
}

/** Frees a stage. Answered by Unloaded. */
export interface Unload {
  readonly stage: number;
}

export interface Unloaded {
  readonly stage: number;
}

/** Computing. The payload begins with a StepBody of so many bytes; hidden states follow at the next multiple of 8. */
export interface Step {
  readonly id: number;
  readonly epoch: number;
  readonly bodyBytes: number;
  /** Asks the receiver to say at once that the step has arrived. */
  readonly receipt: boolean;
}

export interface StepBody {
  readonly segments: readonly Segment[];
  /** Where keys and values are kept as whole numbers, this step's are what scales are chosen by. */
  readonly calibratesKv: boolean;
  /** Pages that are copied before anything is computed: from, to and count of each, one after the other. */
  readonly copies: Uint8Array;
  /** It must not overtake steps that came before. */
  readonly inOrder: boolean;
  /** Pages that are kept in files, and the SHA-256 of their texts, 32 bytes each. */
  readonly keptPages: Uint8Array;
  readonly keptKeys: Uint8Array;
}

/** Arrays are little-endian int32, as bytes: n of them cost one copy. */
export interface Segment {
  readonly sequence: number;
  readonly tokens: Uint8Array;
  readonly positions: Uint8Array;
  readonly cells: Uint8Array;
  readonly windowStart: number;
  readonly windowLength: number;
  readonly visibleCounts: Uint8Array;
  readonly visibleRanges: Uint8Array;
  /**
   * The step whose last choice for this sequence the first token guesses: the last stage drops the segment when that was
   * another. 0: none.
   */
  readonly follows: number;
  readonly sampling: Sampling;
  readonly recentTokens: Uint8Array;
  /** A byte for each row: 0 nothing, 1 a choice, 2 + n a choice with the log-probabilities of the n likeliest tokens. */
  readonly want: Uint8Array;
  /** For layers that keep a state. */
  readonly state?: StateSlots;
}

export interface StateSlots {
  /** The slot that is read, and 1; 0 where a text begins. */
  readonly read: number;
  readonly write: number;
}

export interface Sampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  readonly typicalP: number;
}

/** The receiver of steps allows this many more. */
export interface Credit {
  readonly steps: number;
  /** Id of a step that arrived and asked for a receipt; 0 for none. */
  readonly receipt: number;
}

export interface Result {
  readonly stage: number;
  readonly id: number;
  readonly epoch: number;
  readonly segments: readonly SegmentResult[];
}

export interface SegmentResult {
  readonly sequence: number;
  readonly choices: Uint8Array;
  /** For each choice, where one of them asked for it; empty otherwise. */
  readonly logprobs: readonly TokenLogprobs[];
}

export interface TokenLogprobs {
  /** False for a choice that did not ask. */
  readonly wanted: boolean;
  readonly chosen: number;
  readonly topTokens: Uint8Array;
  /** Little-endian f32. */
  readonly top: Uint8Array;
}

export interface StepFailed {
  readonly stage: number;
  readonly id: number;
  readonly epoch: number;
  readonly message: string;
}

/** Segments that nobody wants any more: pairs of a step's id and a sequence. */
export interface Cancel {
  readonly steps: readonly number[];
  readonly sequences: readonly number[];
}

/** Questions and answers carry a number, so that several can be asked at once. */
export interface StatsRequest {
  readonly request: number;
  readonly stage: number;
  readonly reset: boolean;
}

/** Begins to keep what happens to every step, or ends it and asks for what was kept. */
export interface TraceRequest {
  readonly request: number;
  readonly stage: number;
  readonly start: boolean;
}

export interface Trace {
  readonly request: number;
  readonly stage: number;
  /** JSON of TraceEvent[]. */
  readonly events: string;
  /** The sender's clock, milliseconds since 1970. */
  readonly nowMs: number;
}

/** Asks how fast the worker's threads read memory; it is measured once, so better not while steps are under way. */
export interface BandwidthRequest {
  readonly request: number;
  readonly stage: number;
}

export interface Bandwidth {
  readonly request: number;
  readonly stage: number;
  /** 0 where stages compute from other memory, such as a GPU's. */
  readonly bytesPerSecond: number;
}

export interface LatencySummary {
  readonly samples: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Stats {
  readonly request: number;
  readonly stage: number;
  readonly report: StageReport;
}

export interface StageReport {
  readonly steps: number;
  /** What steps of some sizes take here, learnt from those that were computed; small ones first. */
  readonly times: readonly StepTimes[];
  readonly computeMs: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
  readonly sendMs: number;
  readonly waitMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly residentBytes: number;
  /** Outgoing link: milliseconds from sending a step to its receipt. */
  readonly latency: LatencySummary;
  /** Of its layers with experts, where the stage was loaded to count. */
  readonly routings: readonly LayerRoutings[];
}

/** Which experts of a layer rows went through. */
export interface LayerRoutings {
  readonly layer: number;
  /** Of every expert. */
  readonly counts: readonly number[];
  readonly rows: number;
  readonly steps: number;
  /** Different experts in every step, added up. */
  readonly distinct: number;
}

/** Means over steps of about one size, of which the latest count most. */
export interface StepTimes {
  /** How many steps the means are worth. */
  readonly steps: number;
  readonly tokens: number;
  /** That a token looks at. */
  readonly cells: number;
  readonly ms: number;
}

/** The first message on a tensor connection, from the stage that dialled: how it will send its steps. */
export interface ChannelOffer {
  /** "tcp" or "rdma". */
  readonly transport: string;
  /** Of RDMA: "rc" or "uc", bytes of a slot, and the sender's queue pair. */
  readonly queue: string;
  readonly slotBytes: number;
  readonly address?: QueueAddress;
}

/** Answers an offer of RDMA. */
export interface ChannelAnswer {
  /** Why not; empty when it is accepted. */
  readonly refusal: string;
  readonly address?: QueueAddress;
}

export interface QueueAddress {
  readonly number: number;
  readonly firstPacket: number;
  readonly lid: number;
  readonly mtu: number;
  readonly gid: Uint8Array;
}

/** A frame that RDMA lost, or that follows one. */
export type Frame = Record<string, never>;

/** Asks whether all frames have arrived that were sent by RDMA. Answered by FramesArrived. */
export interface FramesSent {
  readonly count: number;
}

export interface FramesArrived {
  readonly count: number;
}

/** This side uses RDMA no more; the other answers with the same. */
export interface RdmaEnded {
  readonly arrived: number;
  readonly cause: string;
}

/**
 * On a tensor connection whose codec is to be chosen, before any step: the receiver answers probes, whose payload is
 * of any size, until the sender says what it has chosen.
 */
export type LinkProbe = Record<string, never>;

export type LinkProbed = Record<string, never>;

export interface LinkCodec {
  readonly codec: string;
}

/** Asks how many leading ones of some pages are there. */
export interface KnownPages {
  readonly request: number;
  readonly stage: number;
  readonly keys: Uint8Array;
}

/** Has keys and values put into cells that nobody uses. The answer is how many leading pages are as they were. */
export interface RestorePages {
  readonly request: number;
  readonly stage: number;
  readonly epoch: number;
  readonly keys: Uint8Array;
  readonly pages: readonly number[];
}

export interface PageCount {
  readonly request: number;
  readonly stage: number;
  readonly count: number;
}
