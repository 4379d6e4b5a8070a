/** The plain client of the memcached witness, an optional peer without types of its own, as far as it is used. */
declare module "memjs" {
  interface Client {
    get(key: string): Promise<{ value: Buffer | null; flags: Buffer | null }>;
    set(key: string, value: string | Buffer, options: { expires?: number }): Promise<boolean>;
    /** The index of the server that holds a key; may be replaced. */
    getServer(key: string): number;
    readonly servers: readonly { readonly host: string; port: number | string }[];
    close(): void;
  }
  export const Client: { create(servers: string, options?: Record<string, unknown>): Client };
}
