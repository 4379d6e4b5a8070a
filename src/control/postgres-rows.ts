type Column = "string" | "number" | "boolean" | "list" | "string or null" | "number or null";

/** What every row of an answer must hold: an answer of another shape is the answer to another question. */
export type RowShape = Readonly<Record<string, Column>>;

export function rowsFit(shape: RowShape, rows: readonly Readonly<Record<string, unknown>>[]): boolean {
  const columns = Object.entries(shape);
  return rows.every((row) => columns.every(([name, column]) => isOf(column, row[name])));
}

function isOf(column: Column, value: unknown): boolean {
  switch (column) {
    case "list":
      return Array.isArray(value);
    case "string or null":
      return value === null || typeof value === "string";
    case "number or null":
      return value === null || isOf("number", value);
    default:
      return typeof value === column && !Number.isNaN(value);
  }
}
