import type { Command } from 'commander';

/** A command before it is asked for: help and suggestions need no more, and its code is loaded when it is named. */
export interface CommandEntry {
  name: string;
  description: string;
  load: () => Promise<{ define: (command: Command) => Command }>;
  /** What it writes to standard output is all that it does: it ends when nobody reads that. */
  isOutputAll: boolean;
}

/** In the order in which help lists them. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'train',
    description: 'Fine-tune a pretrained TorchScript model on a folder of images',
    load: () => import('./train.js'),
    isOutputAll: false,
  },
  {
    name: 'lr-find',
    description: 'Find a learning rate by a sweep over some steps of the training that is to follow',
    load: () => import('./lr-find.js'),
    isOutputAll: false,
  },
  {
    name: 'search',
    description: 'Search learning rate, layers, epochs and more; keeps the best model',
    load: () => import('./search.js'),
    isOutputAll: false,
  },
  {
    name: 'eval',
    description: 'Metrics of a fine-tuned model on a split of a data set',
    load: () => import('./eval.js'),
    isOutputAll: true,
  },
  {
    name: 'debias',
    description:
      'Retrain the last layer of a fine-tuned model on balanced groups (DFR), against spurious correlations',
    load: () => import('./debias.js'),
    isOutputAll: false,
  },
  {
    name: 'wise-ft',
    description: 'Take a fine-tuned model to the best place between its pretrained and its own weights',
    load: () => import('./wise-ft.js'),
    isOutputAll: false,
  },
  {
    name: 'predict',
    description: 'Classes or labels of images, with probabilities, or the numbers of a regression',
    load: () => import('./predict.js'),
    isOutputAll: true,
  },
  {
    name: 'report',
    description: 'Write report.html of a finished run again, from its run.json, its model and its images',
    load: () => import('./report.js'),
    isOutputAll: false,
  },
  {
    name: 'inspect',
    description: "A model's layers, parameters, heads, and what to know before training it",
    load: () => import('./inspect.js'),
    isOutputAll: true,
  },
  {
    name: 'rank',
    description: 'Which of several pretrained models suits a data set, before any is fine-tuned',
    load: () => import('./rank.js'),
    isOutputAll: true,
  },
  {
    name: 'check',
    description: 'Whether what a pretrained model has learnt helps on a data set',
    load: () => import('./check.js'),
    isOutputAll: true,
  },
  {
    name: 'audit',
    description: 'Images that look the same in two splits, and labels that may be wrong',
    load: () => import('./audit.js'),
    isOutputAll: true,
  },
  {
    name: 'adapt-domain',
    description: 'Adapt a classifier to unlabelled images of another domain',
    load: () => import('./adapt-domain.js'),
    isOutputAll: false,
  },
  {
    name: 'cache',
    description: 'What cached features of frozen layers and proven plans take; `cache clear` removes them',
    load: () => import('./cache.js'),
    isOutputAll: false,
  },
  {
    name: 'doctor',
    description: 'What is installed, what this machine can do, and what to do about what is wrong',
    load: () => import('./doctor.js'),
    isOutputAll: true,
  },
  {
    name: 'setup',
    description: 'Find libtorch, or fetch it into the user cache',
    load: () => import('./setup.js'),
    isOutputAll: false,
  },
  {
    name: 'quickstart',
    description:
      'Fine-tune the embedded network on the embedded photographs of defects, beside one from random weights',
    load: () => import('./quickstart.js'),
    isOutputAll: false,
  },
];
