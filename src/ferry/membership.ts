import { FerryError } from "../errors.js";
import type { ControlRecord, ControlStore, NodeRegistration, NodeReport, Renewal } from "../ports/control-store.js";
import type { Fence } from "../ports/fence.js";

/** Milliseconds. */
export interface MembershipTimes {
  /** A node renewed within this time counts as present when another joins. */
  readonly presence: number;
  /** A node whose renewal is older is overdue: longer than any of its commands can last. */
  readonly overdueAfter: number;
}

/**
 * So long (milliseconds) an endpoint is told after its connection has ended on our side: what was sent over it may still
 * lie unread at the server. After that the port may be somebody else's, whom an eviction must not wait for.
 */
const ENDPOINT_KEPT = 60_000;

/**
 * Rule 11: one node's registration. What fences a node is its connections, not a clock: every new connection to L or R
 * is used only after a renewal that was accepted, while an unbroken one goes on serving though the control store is
 * away. An evicted node is refused its next renewal, and its connections have been ended by then.
 */
export class Membership {
  #evicted = false;
  /** As it was last told. */
  #record: ControlRecord;
  /** How many connections there were lately from each endpoint: a port comes again. */
  readonly #endpoints = new Map<string, number>();
  /** The last report, which a fence repeats when it renews between two polls. */
  #report: NodeReport;

  private constructor(
    readonly control: ControlStore,
    readonly registration: NodeRegistration,
    readonly times: MembershipTimes,
    /** The record as it was when this node joined. */
    readonly joined: ControlRecord,
    readonly onEvicted: () => void,
  ) {
    this.#record = joined;
    // A node that has just joined has begun nothing under older routes.
    this.#report = {
      acknowledged: joined.revision,
      drained: joined.revision,
      gap: 0,
      redis: "unused",
      operations: 0,
      errors: 0,
      p95: null,
      endpoints: [],
    };
  }

  static async join(
    control: ControlStore,
    registration: NodeRegistration,
    times: MembershipTimes,
    onEvicted: () => void,
  ): Promise<Membership> {
    const record = await control.join(registration, { presence: times.presence });
    return new Membership(control, registration, times, record, onEvicted);
  }

  get id(): string {
    return this.registration.id;
  }

  get evicted(): boolean {
    return this.#evicted;
  }

  async renew(report: Omit<NodeReport, "endpoints"> = this.#report): Promise<Renewal> {
    const full = { ...report, endpoints: [...this.#endpoints.keys()] };
    const renewal = await this.control.renew(this.id, full, { overdueAfter: this.times.overdueAfter });
    this.#report = { ...full, operations: 0, errors: 0 };
    this.#record = renewal.record;
    if (!renewal.accepted && !this.#evicted) {
      this.#evicted = true;
      this.onEvicted();
    }
    return renewal;
  }

  /**
   * Also tells the control store the connection's endpoint, so that an eviction can see whether it is gone. A migration
   * that is complete goes no further: there is nothing that a node would have to be kept from, and the control store may
   * be gone for good.
   */
  readonly fence: Fence = async ({ endpoint, closed }) => {
    if (endpoint !== null) {
      this.#endpoints.set(endpoint, (this.#endpoints.get(endpoint) ?? 0) + 1);
      void closed?.then(() => setTimeout(() => this.#forget(endpoint), ENDPOINT_KEPT).unref());
    }
    const { position, pending } = this.#record;
    if (position.phase === "complete" && pending === null) return;
    const { accepted } = await this.renew();
    if (!accepted) throw new FerryError("NODE_EVICTED", "This node's registration was refused.");
  };

  #forget(endpoint: string): void {
    const others = this.#endpoints.get(endpoint)! - 1;
    if (others > 0) this.#endpoints.set(endpoint, others);
    else this.#endpoints.delete(endpoint);
  }

  async leave(): Promise<void> {
    if (!this.#evicted) await this.control.leave(this.id);
  }
}
