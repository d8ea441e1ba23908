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
    description: 'Find a learning rate: sweep it over a few steps of the training to come',
    load: () => import('./lr-find.js'),
    isOutputAll: false,
  },
  {
    name: 'search',
    description: 'Search for the best learning rate, layers, epochs and more, and keep the best model',
    load: () => import('./search.js'),
    isOutputAll: false,
  },
  {
    name: 'eval',
    description: 'Measure a fine-tuned model on a split of a data set',
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
    description: 'Find the best point between the pretrained and the fine-tuned weights of a model',
    load: () => import('./wise-ft.js'),
    isOutputAll: false,
  },
  {
    name: 'predict',
    description: 'Predict the classes or labels of images, or the numbers of a regression',
    load: () => import('./predict.js'),
    isOutputAll: true,
  },
  {
    name: 'report',
    description: 'Write the report of a finished run again, from its run.json, model and images',
    load: () => import('./report.js'),
    isOutputAll: false,
  },
  {
    name: 'inspect',
    description: "Show a model's layers, parameters and heads, and what to know before training it",
    load: () => import('./inspect.js'),
    isOutputAll: true,
  },
  {
    name: 'rank',
    description: 'Rank pretrained models by how well they suit a data set, without fine-tuning any',
    load: () => import('./rank.js'),
    isOutputAll: true,
  },
  {
    name: 'check',
    description: 'Check whether what a pretrained model has learnt helps on a data set',
    load: () => import('./check.js'),
    isOutputAll: true,
  },
  {
    name: 'audit',
    description: 'Look for images that are in two splits, and for labels that may be wrong',
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
    description: 'Show what the cached features and plans of earlier runs take; `cache clear` removes them',
    load: () => import('./cache.js'),
    isOutputAll: false,
  },
  {
    name: 'doctor',
    description: 'Show what is installed, what this machine can do, and how to mend what is wrong',
    load: () => import('./doctor.js'),
    isOutputAll: true,
  },
  {
    name: 'setup',
    description: 'Find libtorch, or download it into the user cache',
    load: () => import('./setup.js'),
    isOutputAll: false,
  },
  {
    name: 'quickstart',
    description:
      'Try it: fine-tune the built-in network on the built-in photographs, beside one from random weights',
    load: () => import('./quickstart.js'),
    isOutputAll: false,
  },
];
