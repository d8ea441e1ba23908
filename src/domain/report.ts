import type { JudgedMethod } from './decide.js';

/** What is told of a method. */
export interface DomainMethodReport extends JudgedMethod {
  /** Why the validators do not take it for better than source-only; '' where nothing speaks against it. */
  objection: string;
  /** Of adapting, without the features that all share. */
  seconds: number;
  /** On labelled target images, with `report`; nothing is chosen by it. */
  labelled?: { accuracy: number; macroF1: number };
}
