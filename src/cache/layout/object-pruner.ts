import type { CacheFile, CacheFiles, CachePruner } from "../pruner.ts";
import type { ObjectRemoval, ObjectRequest, ObjectStore } from "./object-store.ts";

export interface ObjectPrunerOptions {
  readonly objects: ObjectStore;
  readonly removal: ObjectRemoval;
  /** The cache, for messages. */
  readonly label: string;
  readonly atOnce: number;
}

/** Removes objects of a cache in the layout that Nix reads. */
export class ObjectPruner implements CachePruner {
  readonly atOnce: number;
  readonly #options: ObjectPrunerOptions;

  constructor(options: ObjectPrunerOptions) {
    this.atOnce = options.atOnce;
    this.#options = options;
  }

  async list(signal: AbortSignal): Promise<CacheFiles> {
    const { removal, label } = this.#options;
    return await removal.list({ action: `list what is in ${label}`, signal });
  }

  async read(name: string, signal: AbortSignal): Promise<Buffer | undefined> {
    return await this.#options.objects.get(name, this.#request("read", name, signal));
  }

  async remove(file: CacheFile, signal: AbortSignal): Promise<boolean> {
    return await this.#options.removal.remove(file, this.#request("remove", file.name, signal));
  }

  async putBack(name: string, bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void> {
    const { objects } = this.#options;
    const contentType = name.endsWith(".narinfo") ? "text/x-nix-narinfo" : "application/json";
    const object = { name, bytes, contentType };
    const request = this.#request("write", name, signal);
    if (objects.putUnless === undefined) await objects.put(object, request);
    else await objects.putUnless(object, async () => true, request);
  }

  /** What a server answered to is durable. */
  async settle(): Promise<void> {}

  #request(verb: string, name: string, signal: AbortSignal): ObjectRequest {
    return { action: `${verb} ${JSON.stringify(name)} of ${this.#options.label}`, signal };
  }
}
