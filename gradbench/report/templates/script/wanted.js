/* Filters: what is typed and chosen decides which rows of the table and which cards are shown. */
const asked = { text: "", family: "", expectation: "", status: "", differs: false };
const DIFFERENCES = ["passed", "failed", "news", "unsolved"];
const kindOf = result => result.failed ? "failed" : result.news ? "news" : result.solved === result.seeds ? "passed" : "unsolved";
function wanted(item) {
  const results = Object.values(item.results).filter(result => result.ran);
  if (asked.text && !`${item.id} ${item.scenario} ${item.setting}`.toLowerCase().includes(asked.text.toLowerCase())) return false;
  if (asked.family && item.family !== asked.family) return false;
  if (asked.expectation && item.expectation !== asked.expectation) return false;
  if (asked.status && !results.some(result => kindOf(result) === asked.status)) return false;
  return !asked.differs || new Set(results.map(kindOf)).size > 1;
}
