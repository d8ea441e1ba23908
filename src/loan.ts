import { TorchgraftError } from './errors.js';
import type { Model } from './model.js';
import type { NativeModel } from './native.js';

/** Calls that change nothing of a model. */
const readings: readonly (keyof NativeModel)[] = [
  ...(['describe', 'values', 'gradients', 'forward', 'gradCam', 'evaluate', 'save'] as const),
];

const readers = '`summary`, `forward`, `gradCam`, `save`';

/** Who has a model, and what others can do about it. */
const holders = {
  fineTune: `This model is being fine-tuned: await the epoch (between two, in the body of the loop, it may be read: ${readers})`,
  trainer: 'A trainer is at work on this model: await it first',
} as const;
const betweenEpochs = `This model is being fine-tuned: between two epochs it may be read (${readers}), and not changed or trained. Leave the loop first`;

export type Holder = keyof typeof holders;

/** Stands between one Model object and the addon: refuses calls while the model is lent, and knows which are under way. */
export class Desk {
  /** Undefined while the model is not lent. */
  #holder: Holder | undefined;
  #mayRead = false;
  readonly #underWay = new Set<Promise<unknown>>();

  /** The addon's side as this Model object may use it. */
  guard(native: NativeModel): NativeModel {
    return new Proxy(native, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target) as unknown;
        if (typeof value !== 'function') return value;
        return (...arguments_: unknown[]) => {
          if (name !== 'dispose') this.#refuse(name);
          return this.#follow(Reflect.apply(value, target, arguments_));
        };
      },
    });
  }

  /** @throws BUSY while it is lent already */
  lend(holder: Holder): void {
    this.#refuse();
    this.#holder = holder;
  }

  /** Calls are under way. */
  get isInUse(): boolean {
    return this.#underWay.size > 0;
  }

  /** Resolves when nothing is under way any more that was asked for before it was lent, or while it might be read. */
  async settled(): Promise<void> {
    this.#mayRead = false;
    // One call may be followed by another of the same method.
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  allowReading(): void {
    this.#mayRead = true;
  }

  takeBack(): void {
    this.#holder = undefined;
    this.#mayRead = false;
  }

  /** @param name of the method; without, all of them are wanted */
  #refuse(name?: PropertyKey): void {
    if (this.#holder === undefined) return;
    const isReading = readings.some((reading) => reading === name);
    if (isReading && this.#mayRead) return;
    const what = this.#mayRead ? betweenEpochs : holders[this.#holder];
    throw new TorchgraftError('BUSY', `${what}, or load the model a second time.`);
  }

  #follow<T>(result: T): T {
    const call = result as Promise<unknown>;
    const forget = () => this.#underWay.delete(call);
    this.#underWay.add(call);
    call.then(forget, forget);
    return result;
  }
}

/** A model lent by one Model object to whoever trains it, who uses a Model object of their own. */
export class Loan {
  /** The same model, for who has it. */
  readonly model: Model;
  readonly #desk: Desk;
  readonly #holder: Holder;

  /** Use `Model.lend`. */
  constructor(model: Model, desk: Desk, holder: Holder) {
    this.model = model;
    this.#desk = desk;
    this.#holder = holder;
  }

  /**
   * From now on calls of others are refused; resolves when those before have ended.
   *
   * @throws BUSY while somebody has the model
   */
  async take(): Promise<void> {
    this.#desk.lend(this.#holder);
    await this.#desk.settled();
  }

  /** Others may read the model until `resume`. */
  pause(): void {
    this.#desk.allowReading();
  }

  /** Resolves when nobody reads it any more. */
  async resume(): Promise<void> {
    await this.#desk.settled();
  }

  giveBack(): void {
    this.#desk.takeBack();
  }

  /** Takes the model for some work. @throws BUSY while somebody has it */
  async during<T>(work: (model: Model) => Promise<T>): Promise<T> {
    this.#desk.lend(this.#holder);
    try {
      // Else the work begins in this turn, before its caller can overwrite what it was given.
      if (this.#desk.isInUse) await this.#desk.settled();
      return await work(this.model);
    } finally {
      this.giveBack();
    }
  }
}
