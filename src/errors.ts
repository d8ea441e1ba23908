/** What can go wrong, by code. Programs test `error.code`; people read `error.message`. */
export type ErrorCode =
  /** An option has the wrong type, or its name is not known. The error is a TypeError. */
  | 'INVALID_TYPE'
  /** An option is of the right type but outside what is allowed. The error is a RangeError. */
  | 'INVALID_VALUE'
  /** libtorch is neither installed, nor cached, nor could it be fetched. */
  | 'LIBTORCH_NOT_FOUND'
  /** libtorch was found, but in a version this addon was not made for. */
  | 'LIBTORCH_VERSION'
  /** The native addon, or sharp, is missing or cannot be loaded; or a bundler took the code away from them. */
  | 'ADDON_NOT_FOUND'
  /** A device was asked for that this machine does not have. */
  | 'DEVICE_UNAVAILABLE'
  /** No file at the given path, or it cannot be read. */
  | 'FILE_NOT_FOUND'
  /** A file or folder cannot be written: no permission, no room, or something else in its place. */
  | 'FILE_UNWRITABLE'
  /** A file cannot be opened because the process has as many open as it may (`ulimit -n`). */
  | 'TOO_MANY_FILES'
  /** The file is not a TorchScript model that libtorch can read. */
  | 'MODEL_UNREADABLE'
  /** The model was made by `torch.jit.freeze`: it has no parameters to train. */
  | 'MODEL_FROZEN'
  /** The file is a model but carries no torchgraft classes and preprocessing. */
  | 'NOT_A_CLASSIFIER'
  /** No classifying layer could be found, or the named one is none. */
  | 'NO_HEAD'
  /** The model does not do what is asked of it, for example its forward fails on the given input. */
  | 'MODEL_FAILED'
  /** A name, glob or regular expression matches no parameter or module. */
  | 'PATTERN_UNMATCHED'
  /** A tensor's shape, dtype or length does not fit. */
  | 'SHAPE_MISMATCH'
  /** TorchScript source text does not compile. */
  | 'SOURCE_INVALID'
  /** The loss became NaN or infinite. */
  | 'LOSS_NOT_FINITE'
  /** `step` was called before training was configured, or nothing is trainable. */
  | 'NOT_TRAINABLE'
  /** Another operation is running on this model. */
  | 'BUSY'
  /** As many requests wait as `maxQueue` allows. */
  | 'QUEUE_FULL'
  /** The object was disposed, or the predictor is closed. */
  | 'DISPOSED'
  /** An AbortSignal stopped the work. */
  | 'ABORTED'
  /** An image cannot be decoded. */
  | 'IMAGE_UNREADABLE'
  /** A data folder or manifest cannot be used as it is. */
  | 'DATA_INVALID'
  /** A checkpoint is missing, damaged, or of another run. */
  | 'CHECKPOINT_INVALID'
  /** An adapter file is damaged or none of torchgraft's. */
  | 'ADAPTER_INVALID'
  /** An adapter file was made for another base model. */
  | 'ADAPTER_MISMATCH'
  /** Cached features could no longer be read; they are computed anew. Seen only by who calls the addon itself. */
  | 'FEATURES_DAMAGED'
  /** In 8 bits a model is wrong more often than `maxAccuracyLoss` allows. */
  | 'ACCURACY_LOST'
  /** Memory ran out. */
  | 'OUT_OF_MEMORY'
  /** libtorch refused for another reason; its own words are in `cause`. */
  | 'NATIVE';

/** Every error torchgraft throws that is not an argument mistake. `cause` holds the underlying error, if any. */
export class TorchgraftError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'TorchgraftError';
    this.code = code;
  }
}

/** Whether it is an error of torchgraft's, of any realm and any copy of this package, and with this code where one is given. */
export function isTorchgraftError(error: unknown, code?: ErrorCode): error is TorchgraftError {
  const found = (error ?? {}) as Partial<TorchgraftError>;
  return found.name === 'TorchgraftError' && (code === undefined || found.code === code);
}

/** What an error says; anything else that was thrown as text. */
export function messageOf(error: unknown): string {
  const { message } = (error ?? {}) as Partial<Error>;
  return typeof message === 'string' ? message : String(error);
}

/** An option of the wrong type or of an unknown name. */
export function invalidType(message: string): TypeError & { code: 'INVALID_TYPE' } {
  return Object.assign(new TypeError(message), { code: 'INVALID_TYPE' as const });
}

/** An option outside what is allowed. */
export function invalidValue(message: string): RangeError & { code: 'INVALID_VALUE' } {
  return Object.assign(new RangeError(message), { code: 'INVALID_VALUE' as const });
}

/** ABORTED; the signal's reason becomes the cause. */
export function abortError(signal: AbortSignal | undefined): TorchgraftError {
  return new TorchgraftError('ABORTED', 'Stopped by the AbortSignal that was passed as `signal`.', {
    cause: signal?.reason,
  });
}

/** Throws ABORTED when the signal has fired; the signal's reason becomes the cause. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}
