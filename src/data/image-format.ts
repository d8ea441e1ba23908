import { TorchgraftError } from '../errors.js';

/** The formats that are decoded. */
export type ImageFormat = 'JPEG' | 'PNG' | 'WebP' | 'TIFF' | 'GIF' | 'AVIF';

/** As they are told to people. */
export const formatWords = 'JPEG, PNG, WebP, TIFF, GIF and AVIF';

/** Extensions that are taken as images, in any case. */
export const imageExtensions: readonly string[] = [
  ...['.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.tif', '.tiff', '.gif', '.avif'],
];

/** What is said of the first bytes of files that are no image of these formats. */
interface Known {
  /** At `at`, as Latin-1. */
  magic: string;
  at?: number;
  what: string;
}

const formats: readonly (Known & { format: ImageFormat })[] = [
  { format: 'JPEG', what: 'a JPEG', magic: '\xff\xd8\xff' },
  { format: 'PNG', what: 'a PNG', magic: '\x89PNG\r\n\x1a\n' },
  { format: 'GIF', what: 'a GIF', magic: 'GIF87a' },
  { format: 'GIF', what: 'a GIF', magic: 'GIF89a' },
  { format: 'TIFF', what: 'a TIFF', magic: 'II*\0' },
  { format: 'TIFF', what: 'a TIFF', magic: 'MM\0*' },
  { format: 'TIFF', what: 'a TIFF', magic: 'II+\0' },
  { format: 'TIFF', what: 'a TIFF', magic: 'MM\0+' },
];

/** Those that people most often have in folders of images. */
const others: readonly Known[] = [
  { magic: '\xff\xd8\xff\xf7', what: 'a JPEG-LS image' },
  { magic: 'II*\0\x10\0\0\0CR', what: 'a raw photograph of a Canon camera (CR2)' },
  { magic: 'BM', what: 'a BMP image' },
  { magic: '\xff\x0a', what: 'a JPEG XL image' },
  { magic: '\0\0\0\x0cJXL ', what: 'a JPEG XL image' },
  { magic: '\0\0\0\x0cjP  ', what: 'a JPEG 2000 image' },
  { magic: '\xffO\xffQ', what: 'a JPEG 2000 image' },
  { magic: '\0\0\x01\0', what: 'an icon (ICO)' },
  { magic: '8BPS', what: 'a Photoshop document' },
  { magic: '%PDF', what: 'a PDF' },
  { magic: '%!PS', what: 'a PostScript document' },
  { magic: 'v/1\x01', what: 'an OpenEXR image' },
  { magic: '#?RADIANCE', what: 'a Radiance HDR image' },
  { magic: 'SIMPLE  =', what: 'a FITS image' },
  { magic: 'DICM', at: 128, what: 'a DICOM image' },
  { magic: '\x89HDF', what: 'an HDF5 file' },
  { magic: '\x93NUMPY', what: 'a NumPy array' },
  { magic: 'FUJIFILMCCD-RAW', what: 'a raw photograph of a Fujifilm camera' },
  { magic: 'PK\x03\x04', what: 'a ZIP archive' },
  { magic: '\x1f\x8b', what: 'a gzip archive' },
  { magic: 'version https://git-lfs', what: 'a pointer of Git LFS, whose image `git lfs pull` fetches' },
];

/** Refused by this many bytes, more than any of the above needs. */
export const headBytes = 1024;

/** The format of a file by its first bytes; undefined for any that is not decoded. */
export function formatOf(head: Uint8Array): ImageFormat | undefined {
  const text = textOf(head);
  if (text.startsWith('RIFF') && text.startsWith('WEBP', 8)) return 'WebP';
  if (brandsOf(text).some((brand) => brand === 'avif' || brand === 'avis')) return 'AVIF';
  if (find(others, text)) return undefined;
  return find(formats, text)?.format;
}

/**
 * Refuses what is none of the formats that are decoded, before any decoder sees it.
 *
 * @param name what to call the image
 * @throws IMAGE_UNREADABLE that says what it is instead
 */
export function requireFormat(bytes: Uint8Array, name: string): ImageFormat {
  const format = formatOf(bytes);
  if (format) return format;
  throw new TorchgraftError(
    'IMAGE_UNREADABLE',
    `Cannot decode the image ${name}: it is ${describeOther(bytes)}. Expected a whole image of one of these: ${formatWords}.`,
  );
}

function describeOther(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'empty';
  const text = textOf(bytes);
  const brands = brandsOf(text);
  if (brands.length > 0) return describeBrands(brands);
  const known = find(others, text);
  if (known) return known.what;
  if (/^P[1-7][\s#]/.test(text)) return 'a PNM image';
  const start = text.replace(/^\xef\xbb\xbf/, '').trimStart();
  if (/^<!doctype html|^<html/i.test(start)) return 'an HTML page';
  if (start.startsWith('<') && /<svg[\s>]/i.test(start)) return 'an SVG drawing';
  if (/^\0+$/.test(text)) return 'nothing but zeros at its beginning';
  // Fewer bytes than the longest magic: the beginning of a file that was cut.
  return bytes.length < 12 ? `only ${bytes.length} bytes` : 'of no known image format';
}

function describeBrands([major = '', ...brands]: string[]): string {
  const all = [major, ...brands].join(' ');
  if (/hei[cxms]|hev[cx]|heif|mif1|msf1/.test(all)) return 'a HEIC image';
  if (major.startsWith('crx')) return 'a raw photograph of a Canon camera (CR3)';
  return 'a video';
}

/** Of an ISO base media file: the major brand and those that it is compatible with; none for other files. */
function brandsOf(text: string): string[] {
  if (!text.startsWith('ftyp', 4)) return [];
  const length = [...text.slice(0, 4)].reduce((sum, char) => sum * 256 + char.charCodeAt(0), 0);
  // Between the major brand and the others lies the version.
  const brands = text.slice(8, Math.min(length, headBytes)).match(/[^]{4}/g) ?? [];
  return brands.filter((_, at) => at !== 1);
}

function find<K extends Known>(known: readonly K[], text: string): K | undefined {
  return known.find(({ magic, at = 0 }) => text.startsWith(magic, at));
}

function textOf(bytes: Uint8Array): string {
  const { buffer, byteOffset, byteLength } = bytes;
  return Buffer.from(buffer, byteOffset, Math.min(byteLength, headBytes)).toString('latin1');
}
