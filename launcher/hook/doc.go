// Package hook is the driver for instances that an operator's own program or web service makes, anywhere: machines of a
// cloud, containers, another scheduler. There are three calls:
//
//	acquire  {"owner", "key", "spec"}             -> {"id", "host"}
//	release  {"owner", "key", "id", "grace"}      -> {}
//	list     {"owner"}                            -> {"instances": [{"id", "service", "host", "key", "problem"}]}
//
// A program gets the call as its last argument and the request on its standard input; it answers on its standard output and
// ends with 0. A web service gets a POST to URL/acquire and so on, and answers with 200. What a program writes to its
// standard error, or the body of another status, is shown to the operator.
//
// What is asked of a hook: the same key acquires the same instance, however often it is asked; releasing what is not there
// succeeds; list has everything that was acquired for the owner and not released.
//
// What is not trusted: each call has a time limit and an answer of a bounded size. A key is on the disk before it is used,
// so a call that was cut short by a crash is repeated with the same one. Acquire and release count only when list agrees.
// An acquire that fails is released, and until that is known to have worked the instance stays listed, with the reason.
package hook
