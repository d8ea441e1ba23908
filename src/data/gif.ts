/** Of the signature and the description of the screen. */
const headerBytes = 13;

/**
 * A GIF whose first picture has no transparent colour: libvips paints such pixels black, and PIL in the colour that the
 * palette has for them. The bytes given stay as they are, and those of other formats are given back.
 */
export function withoutTransparency(gif: Buffer): Buffer {
  if (gif.toString('latin1', 0, 3) !== 'GIF') return gif;
  const at = graphicControlAt(gif);
  if (at === undefined || ((gif[at + 3] as number) & 1) === 0) return gif;
  const opaque = Buffer.from(gif);
  opaque[at + 3] = (opaque[at + 3] as number) & ~1;
  return opaque;
}

/** Where the extension begins that describes the first picture; undefined where there is none. */
function graphicControlAt(gif: Buffer): number | undefined {
  let at = headerBytes + tableBytes(gif[10] ?? 0);
  // Extensions before the picture: a comment, an application's own.
  while (gif[at] === 0x21) {
    if (gif[at + 1] === 0xf9) return gif[at + 2] === 4 ? at : undefined;
    at += 2;
    for (let length = gif[at]; length; length = gif[at]) at += length + 1;
    at++;
  }
  return undefined;
}

/** Of a colour table that these flags announce. */
function tableBytes(flags: number): number {
  return flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0;
}
