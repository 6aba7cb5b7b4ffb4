/** Passing on the address of something in this page: by the device's own means, or copied. */

/** Whether the address was copied; false: the device took it, or the visitor thought better of it. */
export async function share(title: string, hash: string): Promise<boolean> {
  const url = new URL(hash, location.href).href;
  if (navigator.share) {
    const refused = await navigator.share({ title, url }).then(
      () => null,
      (error: unknown) => error as DOMException,
    );
    if (!refused || refused.name === "AbortError") return false;
  }
  await copy(url);
  return true;
}

/** The clipboard's own interface exists over HTTPS and on localhost only, and the page is also used over HTTP. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
