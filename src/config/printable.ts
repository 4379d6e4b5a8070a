/**
 * A key of the file as it may be shown. What is no name at all is not shown: a URL that lost its `url:` is a key to
 * YAML, and holds a password.
 */
export function printable(key: string): string {
  return /^[\w$.-]{1,60}$/.test(key) ? key : "(a key that is no name)";
}
