/** What an owner has taken so far: freed, the last first, when it closes or when opening fails half-way. */
export class Resources implements Disposable {
  readonly #taken: Disposable[] = [];

  take<Resource extends Disposable>(resource: Resource): Resource {
    this.#taken.push(resource);
    return resource;
  }

  [Symbol.dispose](): void {
    for (const resource of this.#taken.splice(0).reverse()) resource[Symbol.dispose]();
  }
}
