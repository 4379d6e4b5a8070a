import { SECRETS } from "./judge.js";

/** One message: a letter, a length that counts itself, a body. */
export function message(type: string, body: Buffer | string = "", length?: number): Buffer {
  const bytes = Buffer.from(body as string);
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeUInt32BE(length ?? bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

export const ready = message("Z", "I");
export const row = (count: number, ...fields: (string | number)[]) => {
  const parts = fields.map((field) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(typeof field === "number" ? field : field.length);
    return Buffer.concat([length, Buffer.from(typeof field === "number" ? "" : field)]);
  });
  const head = Buffer.alloc(2);
  head.writeInt16BE(count);
  return message("D", Buffer.concat([head, ...parts]));
};
export const error = (fields: string) => message("E", fields);

/** What PostgreSQL says, also where it says it to nobody. */
export const DIALECT: readonly Buffer[] = [
  ready,
  message("Z"),
  message("1"),
  message("2"),
  message("n"),
  message("C", "SELECT 1\0"),
  message("C", "SELECT"),
  Buffer.concat([message("C", "SELECT 0\0"), ready]),
  message("I"),
  message("T", "\0\u0001name\0"),
  message("T", Buffer.of(0x7f, 0xff)),
  row(1, "x"),
  row(-1),
  row(5, "x"),
  row(1, 0x7fffffff),
  row(1, -5),
  error(`SERROR\0C23505\0MKey (sid)=(${SECRETS.sid})\0D${SECRETS.value}\0\0`),
  error(`SFATAL\0C57P01\0Mgone ${SECRETS.password}\0\0`),
  error(`SERROR\0C42P01\0Mno table\0\0`),
  error("SERROR\0C40001\0Magain\0\0"),
  error("SERROR\0CXX000\0Mno end"),
  error("\0"),
  error(""),
  message("N", "SNOTICE\0Mno end"),
  message("N", ""),
  message("R", Buffer.of(0, 0, 0, 3)),
  message("R", Buffer.of(0, 0, 0, 99)),
  message("R", "\0\0\0\nSCRAM-SHA-256\0\0"),
  message("R", "\0\0\0\u000bxx"),
  message("K", "x"),
  message("S", "a"),
  message("G", Buffer.of(0, 0, 1)),
  message("d", "x"),
  message("A", "x"),
  message("?", "x"),
  message("D", "", 0),
  message("D", "", 0xffffffff),
  message("E", "x", 0x7fffffff),
  Buffer.from("N"),
  Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"),
];
