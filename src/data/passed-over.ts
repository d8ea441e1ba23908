import { extname } from 'node:path';
import { compare } from './dataset.js';
import { formatWords, imageExtensions } from './image-format.js';

/** What a reading of a tree passed over, by reason. */
export class PassedOver {
  hidden = 0;
  /** Images outside a class folder. */
  outside = 0;
  readonly extensions = new Map<string, number>();

  addFile(name: string): void {
    const extension = extname(name).toLowerCase() || 'no extension';
    this.extensions.set(extension, (this.extensions.get(extension) ?? 0) + 1);
  }

  add({ hidden, outside, extensions }: PassedOver): void {
    this.hidden += hidden;
    this.outside += outside;
    for (const [kind, count] of extensions)
      this.extensions.set(kind, (this.extensions.get(kind) ?? 0) + count);
  }

  /** `.bmp (3), .txt (1)`. */
  get kinds(): string {
    return [...this.extensions]
      .sort(([a], [b]) => compare(a, b))
      .map(([kind, count]) => `${kind} (${count})`)
      .join(', ');
  }

  /** One sentence each, where images were found. */
  warnings(): string[] {
    const { hidden, outside, kinds } = this;
    return [
      ...(outside > 0 ? [`${images(outside)} outside a class folder ${areNot(outside)} used.`] : []),
      ...(hidden > 0 ? [`${hidden} hidden file${hidden === 1 ? '' : 's'} ${areNot(hidden)} used.`] : []),
      ...(kinds ? [`Files that are no images, by extension, are not used: ${kinds}.`] : []),
    ];
  }

  /** Why there is nothing, in two sentences; empty where nothing was passed over. */
  why(): string {
    const { hidden, kinds } = this;
    const passed = [...(kinds ? [kinds] : []), ...(hidden > 0 ? [`${hidden} hidden`] : [])];
    if (passed.length === 0) return '';
    return `Files passed over, by extension: ${passed.join('; ')}. Formats that are read: ${formatWords}.`;
  }
}

/** `1 image`, `2 images`. */
export function images(count: number): string {
  return `${count} image${count === 1 ? '' : 's'}`;
}

function areNot(count: number): string {
  return count === 1 ? 'is not' : 'are not';
}

/** By its extension. */
export function isImageName(name: string): boolean {
  return imageExtensions.includes(extname(name).toLowerCase());
}
