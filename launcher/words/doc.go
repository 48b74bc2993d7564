// Package words is how a launched instance speaks to the launcher of its node: by a token of its own, over loopback.
//
//	POST $WEIR_URL/ask   {"replicas": 5, "reason": "...", "for": "2m"}   at least so many of its service; or {"more": 2}
//	POST $WEIR_URL/fail  {"reason": "..."}                               take it out, end it and start it anew
//
// Guarantees:
//   - What is said for an instance is heard only with the token that this instance was given: who has none, a wrong one or
//     another instance's is refused, counted, and changes nothing.
//   - Tokens follow from one secret of the node, so that they hold through restarts and nothing has to be kept of each.
package words
