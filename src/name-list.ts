/** Names as a list for people: `ants, bees`; of very many the first, `ants, bees and 3,998 more`. */
export function listNames(names: readonly string[], most = 20): string {
  if (names.length <= most) return names.join(', ');
  return `${names.slice(0, most).join(', ')} and ${(names.length - most).toLocaleString('en-US')} more`;
}
