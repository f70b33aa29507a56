// The 404 page: with the link at hand, asks the server how its message ended, and says so.

export default async function gone(section, { canSeal, isToken, linkProofOf, linkOf, statusOf, show, persist }) {
  const { key, token } = linkOf(location);
  addEventListener("hashchange", () => section.isConnected && location.reload());
  if (!canSeal() || !(await isToken(token))) return;
  const { status, at } = await statusOf(key, { link_proof: await linkProofOf(token) }, persist);
  if (at) show(section, status, at);
}
