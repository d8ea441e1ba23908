/** A strict reader of HTML for the tests of reports: every element is closed, every attribute quoted. */
export interface HtmlElement {
  name: string;
  attributes: Record<string, string>;
  children: (HtmlElement | string)[];
}

const voidElements = new Set(['meta', 'img', 'br', 'link', 'input', 'hr']);
const attributePattern = /\s+([a-zA-Z_:][\w:.-]*)(?:="([^"<]*)")?/gy;

/** @throws Error at the first place that is not well-formed */
export function parseHtml(text: string): HtmlElement {
  const root: HtmlElement = { name: '', attributes: {}, children: [] };
  const open = [root];
  let at = '<!DOCTYPE html>\n'.length;
  if (!text.startsWith('<!DOCTYPE html>\n')) throw new Error('no doctype');
  while (at < text.length) {
    const parent = open.at(-1) as HtmlElement;
    if (parent.name === 'style') {
      const end = text.indexOf('</style>', at);
      parent.children.push(text.slice(at, end));
      at = end;
    }
    const next = text.indexOf('<', at) < 0 ? text.length : text.indexOf('<', at);
    const between = text.slice(at, next);
    if (/&(?!(?:amp|lt|gt|quot|#39|#x?[\da-f]+);)|>/i.test(between))
      throw new Error(`bare mark-up in ${between}`);
    if (between) parent.children.push(decode(between));
    at = next;
    if (at === text.length) break;
    const tag = /<(\/?)([a-zA-Z][\w-]*)/y;
    tag.lastIndex = at;
    const found = tag.exec(text);
    if (!found) throw new Error(`no tag at ${text.slice(at, at + 80)}`);
    const [, slash, name = ''] = found;
    const attributes: Record<string, string> = {};
    attributePattern.lastIndex = tag.lastIndex;
    let end = tag.lastIndex;
    for (let one = attributePattern.exec(text); one; one = attributePattern.exec(text)) {
      attributes[one[1] as string] = decode(one[2] ?? '');
      end = attributePattern.lastIndex;
    }
    const close = /\s*\/?>/y;
    close.lastIndex = end;
    if (!close.test(text)) throw new Error(`a tag that does not end at ${text.slice(at, at + 120)}`);
    at = close.lastIndex;
    if (slash) {
      if (open.pop()?.name !== name) throw new Error(`</${name}> closes ${parent.name}`);
      continue;
    }
    const element = { name, attributes, children: [] };
    parent.children.push(element);
    if (!voidElements.has(name)) open.push(element);
  }
  if (open.length !== 1) throw new Error(`${open.at(-1)?.name} is not closed`);
  return root;
}

function decode(text: string): string {
  const known: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };
  return text.replace(/&([^;]+);/g, (whole, name: string) => known[name] ?? whole);
}

/** All elements below, in the order of the text. */
export function elements(of: HtmlElement): HtmlElement[] {
  return of.children.flatMap((child) => (typeof child === 'string' ? [] : [child, ...elements(child)]));
}

/** Elements of a name, or with an id as `#id`. */
export function find(of: HtmlElement, what: string): HtmlElement[] {
  return elements(of).filter(({ name, attributes }) =>
    what.startsWith('#') ? attributes.id === what.slice(1) : name === what,
  );
}

/** The text of an element, white space run together. */
export function textOf(element: HtmlElement): string {
  const text = (one: HtmlElement | string): string =>
    typeof one === 'string' ? one : one.name === 'br' ? ' ' : one.children.map(text).join('');
  return text(element).replace(/\s+/g, ' ').trim();
}

/** Rows of a table as texts. */
export function rowsOf(table: HtmlElement): string[][] {
  return find(table, 'tr').map((row) =>
    row.children.flatMap((cell) => (typeof cell === 'string' ? [] : [textOf(cell)])),
  );
}
