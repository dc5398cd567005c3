import { DaisychainError } from '../../step/errors.js';

/** Why a connection could not be made or came to its end. */
export type TransportErrorCode =
  /** Nobody answers at the address. */
  | 'unreachable'
  /** The port to listen on is taken, or may not be used. */
  | 'port'
  /** The peer does not share the cluster secret. */
  | 'secret'
  /** The peer speaks another version of the protocol. */
  | 'version'
  /** The peer does not want this connection; the message says why. */
  | 'refused'
  /** What the peer sent is not the protocol. */
  | 'garbage'
  /** The peer was silent for too long. */
  | 'timeout'
  /** RDMA cannot be used; the message says why. */
  | 'rdma'
  /** The peer closed the connection, or it broke. */
  | 'closed';

/** Longer messages are cut: parts of them may come from the peer. */
const longestMessage = 1000;

/**
 * The message is one line that names the peer, the cause and the remedy. What a peer wrote into it cannot break the
 * line or control a terminal.
 */
export class TransportError extends DaisychainError<TransportErrorCode> {
  override readonly name = 'TransportError';
  constructor(code: TransportErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(code, message.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, longestMessage), options);
  }
}
