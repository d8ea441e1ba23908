import { visible } from '../report/visible.js';

/** Markup that is safe to put into a page: only {@link html} makes it, and what it is given as text is escaped. */
export class Html {
  readonly #text: string;

  /** @internal */
  constructor(text: string) {
    this.#text = text;
  }

  get text(): string {
    return this.#text;
  }

  /** Whether it was made here: an object of a file, whatever it holds, is no markup. */
  static is(value: unknown): value is Html {
    return typeof value === 'object' && value !== null && #text in value;
  }
}

/** What may stand in a template: markup as it is, text and numbers escaped, lists joined, and nothing for the rest. */
export type Fragment = Html | string | number | false | null | undefined | readonly Fragment[];

/** A template whose values are escaped unless they are markup already. Attribute values must be quoted. */
export function html(strings: TemplateStringsArray, ...values: Fragment[]): Html {
  return new Html(strings.reduce((text, part, index) => text + render(values[index - 1]) + part));
}

/** Text from our own code that is markup already: the style sheet, a drawn chart. Never what a user or file named. */
export function trusted(markup: string): Html {
  return new Html(markup);
}

/** A name from outside: set apart, so that its direction of writing leaves the text around it alone. */
export function named(name: string): Html {
  return html`<bdi>${name}</bdi>`;
}

/** The same as code: file names, layers, hashes. */
export function code(text: string): Html {
  return html`<code>${named(text)}</code>`;
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Text for element content and quoted attributes. What HTML forbids becomes U+FFFD, and characters that would turn the
 * direction of a name stand there as escapes.
 */
export function escapeHtml(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => entities[character] as string)
    .replace(/(?![\t\n])[\p{Cc}\p{Surrogate}]/gu, '\uFFFD')
    .replace(/[^\t\n]+/g, visible);
}

function render(value: Fragment): string {
  if (Html.is(value)) return value.text;
  if (typeof value === 'string') return escapeHtml(value);
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.map(render).join('');
  return '';
}
