package chaos

// processRows are faults of the agent as a process.
var processRows = []Row{{
	ID:       "A1",
	Fault:    "kill -9 of an idle agent, and a new start",
	Expected: "traffic untouched; the new process adopts the rules without writing",
	Target:   "conn_failed 0, live_broken 0, writes 0",
	Promises: []int{1, 5},
	Variants: both,
	Quick:    one,
	Mutation: Mutation{
		File: "agent/pass.go", Why: "what the kernel holds is not read at the start, so everything is written anew",
		Old: "if a.have, err = a.c.Driver.Read(ctx); err != nil {\n\t\treturn false, err\n\t}\n\ta.checked = time.Now()",
		New: "if a.have, err = a.c.Driver.Read(ctx); err != nil {\n\t\treturn false, err\n\t}\n\ta.have = new(rules.State)\n\ta.checked = time.Now()",
	},
}, {
	ID:       "A7",
	Fault:    "a second agent on the same node",
	Expected: "it ends with exit code 4 and clear words; the first one goes on",
	Target:   "exit_code 4, rules unchanged",
	Variants: one,
	Mutation: Mutation{
		File: "cmd/weir/agent.go", Why: "nothing is locked",
		Old: `net.Listen("unix", "@weir-agent")`,
		New: `net.Listen("tcp", "127.0.0.1:0")`,
	},
}}
