// Package simulate puts the law of the weights (loadmon.Weights) to the test: instances with queues, connections that
// arrive at random, and the very slots that rules.Build would put into a kernel. The same arrivals and the same work meet
// each policy, and everything follows from one seed.
package simulate
